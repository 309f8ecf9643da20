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
        ("0.5 * ops.square(standardised) + spread +", "0.5 * ops.square(standardised) +"),
        ("return ops.sum(values, axis=tuple", "return ops.mean(values, axis=tuple"),
        ("values * ops.cast(weights, values.dtype)", "values"),
        ("product *= tf.cast(value", "product = tf.cast(value"),
    ],
    "noise": [
        ("(position + ops.arange(rows", "(0 * position + ops.arange(rows"),
        ("state.assign([SEED + number, 0])", "pass"),
    ],
    "training": [
        ("lr=tf.cast(learning_rate, variable.dtype)", "lr=tf.cast(2 * learning_rate, variable.dtype)"),
        ("number = tf.cast(self.iterations + 1,", "number = tf.cast(self.iterations,"),
        ("math.gcd(most, *(n for n in steps if n))", "most"),
        ("at_once = 1 if sees_batches(callbacks) else", "at_once ="),
        ("ops.cast(ops.maximum(ops.shape(values)[0], 1), values.dtype)", "ops.cast(ops.shape(values)[0], values.dtype)"),
        ("stateless_shuffle(rows, [seed, 0])", "stateless_shuffle(rows, [1, 0])"),
    ],
    "_settings": [
        ("return variable if tf.inside_function() else value", "return value"),
        ("            variable.assign(value)\n", "            pass\n"),
    ],
    "_inputs": [
        ("values.itemsize < _SMALL", "False"),
        ("ops.all(ops.isfinite(tensor))", "True"),
        ("ops.logical_and(low >= 0, high <= 1)", "low >= 0"),
    ],
    "_loss_checks": [
        ('if from_logits and activation != "linear":', "if False:"),
        ("if is_mean and penalties:", "if False:"),
    ],
    "tied": [("ops.transpose(self.dense.kernel)) + self.bias", "ops.transpose(self.dense.kernel))")],
    "autoencoder": [
        ("        return x if y is None else y\n", "        return x\n"),
        ("            x = self.corruption(x, training=True)", "            y = self.corruption(x, training=True)"),
        ("with repeated(self._noise_states()):", "if True:"),
        ("return keras.tree.map_structure(ops.sigmoid, output) if self", "return output if self"),
        ("return x, target if weights is not None else y", "return x, y"),
        ('executing(self, "test_function", callbacks, steps)', 'executing(self, "test_function", callbacks)'),
    ],
    "sparse": [
        ("activity = ops.abs(", "activity = ops.square("),
        ("activity *= pixel_weights(z, mask)", "pass"),
        ("        self.add_loss(images_mean(penalties))", "        self.add_loss(ops.sum(penalties))"),
        ("return ops.divide_no_nan(total, weights) + mean", "return total + mean"),
        ("kept = ops.logical_or(above, ops.logical_and(ties, first))", "kept = z >= least"),
        ("ops.logical_or(kept, ops.isnan(z))", "kept"),
    ],
    "contractive": [
        ("keras.activations.tanh: lambda h: 1 - ops.square(h)", "keras.activations.tanh: lambda h: 1 - h"),
        ("per_image(ops.square(_DERIVATIVES", "per_image((_DERIVATIVES"),
        ("per_image(ops.square(tape.gradient(projected, x)))", "per_image(ops.abs(tape.gradient(projected, x)))"),
        ("over_replicas(ops.multiply(self.weight, mean(penalties)))", "over_replicas(mean(penalties))"),
    ],
    "denoising": [
        ("ops.multiply(self.stddev, noise)", "ops.multiply(self.stddev * self.stddev, noise)"),
        ("return self.corrupt(x) if training else x", "return self.corrupt(x)"),
        ("ops.less(chance, self.rate / 2)", "ops.less(chance, self.rate)"),
    ],
    "semi_supervised": [("unsupervised + self.weight * prediction", "unsupervised + prediction")],
    "_partly_labelled": [
        ("/ ops.maximum(over_all_replicas(ops.sum(labelled)), 1.0)", "/ ops.cast(ops.size(labelled), 'float32')"),
        ("ops.where(labelled, nats, 0.0)", "nats"),
        ("results[\"loss\"] = results.pop(\"unsupervised\") + self.weight *", "results[\"loss\"] = results.pop(\"unsupervised\") +"),
    ],
    "ladder": [
        ("ops.sum(ops.mean(ops.square(z - z_hat), axis=-1))", "ops.sum(ops.sum(ops.square(z - z_hat), axis=-1))"),
        ("ops.minimum(images / FEWEST, 1.0)", "1.0"),
    ],
    "_ladder_layers": [
        ("return (z - mu) * v + mu", "return (z - mu) * v"),
        ("squares = ops.square(values - ops.matmul(groups, means))", "squares = ops.abs(values - ops.matmul(groups, means))"),
        ("filled = ops.maximum(counts, FEWEST)", "filled = ops.maximum(counts, 1)"),
    ],
    "sampling": [
        ("ops.exp(0.5 * limited(log_var, dtype))", "ops.exp(limited(log_var, dtype))"),
        ("(ops.square(mean) + variance - 1 - log_var)", "(ops.square(mean) + variance - 1)"),
        ("self.add_loss(ops.multiply(self.weight, images_mean(divergence)))", "self.add_loss(images_mean(divergence))"),
        ("0.5 * (ops.square(self.epsilon) + log_var - ops.square(self.z))", "0.5 * (ops.square(self.epsilon) - ops.square(self.z))"),
    ],
    "variational": [
        ("reconstruction + ops.multiply(self._kl_weight(training), kl)", "reconstruction + kl"),
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
        ("(joint - ops.sum(marginals, axis=-1))", "(joint - ops.mean(marginals, axis=-1))"),
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
    "_inputs": ("uses",),
    "_ladder_layers": ("ladder",),
    "_loss_checks": ("uses",),
    "_settings": ("uses",),
    "contractive": ("contractive", "uses"),
    "losses": ("losses", "uses"),
    "sparse": ("sparse", "uses"),
    "training": ("training", "autoencoder", "uses"),
    "_partly_labelled": ("semi_supervised",),
    "sampling": ("variational",),
    "tied": ("autoencoder",),
    "autoencoder": ("autoencoder", "denoising", "uses"),
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
