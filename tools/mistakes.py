# ruff: noqa: E501
"""Breaks one formula at a time in a copy of the checkout and says whether the tests notice.

    python tools/mistakes.py [MODULE ...]

Each line of MISTAKES is a formula and a plausible wrong one: a square, a sign, a sum or a factor
that is missing. The exit status is 1 if a mistake goes unnoticed.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[1]

MISTAKES = {
    "information": [
        ("    return entr(a) + entr(1.0 - a)", "    return entr(a)"),
        ("(ratio**2 + shift**2 - 1.0) / 2.0 - np.log(ratio)", "(ratio**2 + shift**2 - 1.0) / 2.0"),
        ("np.maximum(rel_entr(p, q)", "np.maximum(rel_entr(q, p)"),
    ],
    "pca": [
        ("centred.T @ centred / (rows - 1)", "centred.T @ centred / rows"),
        ("X @ self.components_ + self.mean_", "X @ self.components_"),
    ],
    "losses": [
        ("return ops.square(y_true - y_pred)", "return ops.abs(y_true - y_pred)"),
        ("ops.softplus(y_pred) - y_pred * y_true", "ops.softplus(y_pred) + y_pred * y_true"),
        ("math.log(self.stddev) + 0.5", "0.5"),
        ("return ops.sum(values, axis=tuple", "return ops.mean(values, axis=tuple"),
        ("per_image(weights * self._checked(y_true, y_pred))", "per_image(self._checked(y_true, y_pred))"),
    ],
    "noise": [
        ("(position + ops.arange(rows", "(0 * position + ops.arange(rows"),
        ("state.assign([SEED + number, 0])", "pass"),
    ],
    "training": [
        ("lr=tf.cast(learning_rate, variable.dtype)", "lr=tf.cast(2 * learning_rate, variable.dtype)"),
        ("number = tf.cast(self.iterations + 1,", "number = tf.cast(self.iterations,"),
    ],
    "tied": [("ops.transpose(self.dense.kernel)) + self.bias", "ops.transpose(self.dense.kernel))")],
    "autoencoder": [
        ("        return x if y is None else y\n", "        return x\n"),
        ("            x = self.corruption(x, training=True)", "            y = self.corruption(x, training=True)"),
        ("with repeated(self._noise_states()):", "if True:"),
        ("return keras.tree.map_structure(ops.sigmoid, output) if logits", "return output if logits"),
    ],
    "sparse": [
        ("self.weight * per_image(ops.abs(", "self.weight * per_image(ops.square("),
        ("        self.add_loss(ops.mean(penalties))", "        self.add_loss(ops.sum(penalties))"),
        ("return total / weights + mean", "return total + mean"),
        ("return ops.where(ops.logical_or(above, ops.logical_and(ties, first)), z, 0)", "return ops.where(z >= least, z, 0)"),
    ],
    "contractive": [
        ("keras.activations.tanh: lambda h: 1 - ops.square(h)", "keras.activations.tanh: lambda h: 1 - h"),
        ("per_image(ops.square(_DERIVATIVES", "per_image((_DERIVATIVES"),
        ("per_image(ops.square(tape.gradient(projected, x)))", "per_image(ops.abs(tape.gradient(projected, x)))"),
        ("over_replicas(self.weight * ops.mean(penalties))", "over_replicas(ops.mean(penalties))"),
    ],
    "denoising": [
        ("ops.cast(self.stddev * noise, x.dtype)", "ops.cast(self.stddev**2 * noise, x.dtype)"),
        ("return self.corrupt(x) if training else x", "return self.corrupt(x)"),
        ("chance < self.rate / 2", "chance < self.rate"),
    ],
    "semi_supervised": [("over_replicas(self.weight * prediction)", "over_replicas(prediction)")],
    "_partly_labelled": [
        ("/ ops.maximum(ops.sum(labelled), 1.0)", "/ ops.cast(ops.size(labelled), 'float32')"),
        ("ops.where(labelled, nats, 0.0)", "nats"),
        ("results[\"loss\"] = results.pop(\"unsupervised\") + self.weight *", "results[\"loss\"] = results.pop(\"unsupervised\") +"),
    ],
    "ladder": [
        ("return (z - mu) * v + mu", "return (z - mu) * v"),
        ("variances = ops.matmul(shares, ops.square(values - mean))", "variances = ops.matmul(shares, ops.abs(values - mean))"),
        ("weight * ops.mean(ops.square(z - z_hat))", "weight * ops.sum(ops.square(z - z_hat))"),
    ],
    "sampling": [
        ("ops.exp(0.5 * limited(log_var, dtype))", "ops.exp(limited(log_var, dtype))"),
        ("(ops.square(mean) + variance - 1 - log_var)", "(ops.square(mean) + variance - 1)"),
        ("self.add_loss(self.weight * ops.mean(divergence))", "self.add_loss(ops.mean(divergence))"),
        ("0.5 * (ops.square(self.epsilon) + log_var - ops.square(self.z))", "0.5 * (ops.square(self.epsilon) - ops.square(self.z))"),
    ],
    "variational": [
        ("reconstruction + self._kl_weight(training) * kl", "reconstruction + kl"),
        ("ops.log(count) - ops.logsumexp(log_weights, axis=1)", "-ops.logsumexp(log_weights, axis=1)"),
        ("bounds.append(total - math.log(samples))", "bounds.append(total)"),
        ("return -ops.mean(losses, axis=1) - kl", "return -ops.mean(losses, axis=1) - self.beta * kl"),
        ("if not (training and self.beta_warmup):", "if not self.beta_warmup:"),
        ("self._seen.assign_add(images)", "pass"),
    ],
    "latent": [
        ("return ((1 - t) * a + t * b)", "return (t * a + (1 - t) * b)"),
        ("np.mean(differences, axis=0)", "np.sum(differences, axis=0)"),
    ],
    "retrieval": [("total += (hits / ranks).mean()", "total += hits.mean() / ranks.mean()")],
    "compression": [("2 * counts + 1", "counts + 1"), ("ops.round(z / self.step)", "ops.floor(z / self.step)")],
    "bits_back": [("z = mean + popped - self._tail", "z = mean + popped")],
    "total_correlation": [
        ("correlation = joint - ops.sum(marginals, axis=-1)", "correlation = joint - ops.mean(marginals, axis=-1)"),
        ("over_replicas((self.beta - 1) *", "over_replicas(self.beta *"),
        ("own = -math.log(train_size)", "own = 0.0"),
    ],
    "disentanglement": [
        ("(ordered[-1] - ordered[-2]).mean()", "ordered[-1].mean()"),
        ("float(_concentration(importance.T).mean())", "float(_concentration(importance).mean())"),
        ("codes.var(axis=0)[used] / variance[used]", "codes.var(axis=0)[used]"),
    ],
    "metrics": [
        ("np.trace(cov_a + cov_b) - 2 * common", "np.trace(cov_a + cov_b) - common"),
        ("-10 * np.log10(", "-20 * np.log10("),
        ("return 1 - float(voters", "return float(voters"),
    ],
    "recipes": [("CosineDecay(0.0, steps - steps // 20", "CosineDecay(0.0, steps")],
}  # fmt: skip
# Where the tests of a module have another name than the module.
TESTS = {
    "_partly_labelled": ("semi_supervised",),
    "sampling": ("variational",),
    "tied": ("autoencoder",),
    "autoencoder": ("autoencoder", "denoising"),
}


def noticed(module: str, before: str, after: str) -> bool:
    """Whether the module's tests fail once `before` is replaced by `after`."""
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder)
        for name in ("aelib", "tests"):
            ignored = shutil.ignore_patterns("__pycache__")
            shutil.copytree(ROOT / name, copy / name, ignore=ignored)
        shutil.copy(ROOT / "pyproject.toml", copy)
        path = copy / "aelib" / f"{module}.py"
        text = path.read_text(encoding="utf-8")
        if text.count(before) < 1:
            raise SystemExit(f"aelib/{module}.py has no {before!r}: bring MISTAKES up to date")
        path.write_text(text.replace(before, after, 1), encoding="utf-8")
        files = [f"tests/test_{name}.py" for name in TESTS.get(module, (module,))]
        command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", *files]
        done = subprocess.run(
            command, cwd=copy, env={**os.environ, "PYTHONPATH": folder}, capture_output=True
        )
        if done.returncode not in (0, 1):
            raise SystemExit(f"The tests of {module} did not run: {done.stdout.decode()[-500:]}")
        return done.returncode == 1


def main(modules: list[str]) -> int:
    missed = 0
    for module in modules or MISTAKES:
        for before, after in MISTAKES[module]:
            red = noticed(module, before, after)
            missed += not red
            mark = "red     " if red else "UNNOTICED"
            print(f"{mark} {module}: {before.strip()}  ->  {after.strip()}", flush=True)
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
