// The layers of a model, run in the page. aelib/_network.py writes them.

const bytes = (text) => Uint8Array.from(atob(text), (byte) => byte.charCodeAt(0)).buffer;

// Abramowitz and Stegun, formula 7.1.26: within 1.5e-7.
function erf(x) {
  const t = 1 / (1 + 0.3275911 * Math.abs(x));
  const series = ((1.061405429 * t - 1.453152027) * t + 1.421413741) * t - 0.284496736;
  return Math.sign(x) * (1 - (series * t + 0.254829592) * t * Math.exp(-x * x));
}

const ACTIVATIONS = {
  linear: (x) => x,
  relu: (x) => Math.max(x, 0),
  gelu: (x) => 0.5 * x * (1 + erf(x * Math.SQRT1_2)),
  silu: (x) => x / (1 + Math.exp(-x)),
  tanh: Math.tanh,
  sigmoid: (x) => 1 / (1 + Math.exp(-x)),
  softplus: (x) => Math.max(x, 0) + Math.log1p(Math.exp(-Math.abs(x))),
};

// The number that 16 bits stand for: sign, 5 bits of exponent, 10 of digits.
function half(code) {
  const [sign, exponent, digits] = [code >> 15 ? -1 : 1, (code >> 10) & 31, (code & 1023) / 1024];
  return sign * (exponent ? 2 ** (exponent - 15) * (1 + digits) : 2 ** -14 * digits);
}

const NUMBERS = {
  int8: (data) => new Int8Array(data),
  int16: (data) => new Int16Array(data),
  float16: (data) => Float32Array.from(new Uint16Array(data), half),
};

// What is common to layers with weights: `kernel` in steps, one step size and bias for each unit.
function parameters({ kernel, step, bias, numbers, activation }) {
  const weights = NUMBERS[numbers](bytes(kernel));
  const [steps, biases] = [new Float32Array(bytes(step)), new Float32Array(bytes(bias))];
  const finish = (sums) => sums.map((sum, i) => {
    const unit = i % biases.length;
    return ACTIVATIONS[activation](sum * steps[unit] + biases[unit]);
  });
  return { weights, units: biases.length, finish };
}

// For each kind of layer, what makes a function of flat arrays of its description.
const LAYERS = {
  activation: ({ activation }) => (x) => x.map((value) => ACTIVATIONS[activation](value)),
  dense(layer) {
    const { weights, units, finish } = parameters(layer);
    return (x) => {
      const sums = new Float64Array(units);
      for (let i = 0, k = 0; i < x.length; i++)
        for (let j = 0; j < units; j++, k++) sums[j] += x[i] * weights[k];
      return finish(sums);
    };
  },
  standardised: ({ epsilon }) => (x) => {
    const mean = x.reduce((sum, value) => sum + value, 0) / x.length;
    const variance = x.reduce((sum, value) => sum + (value - mean) ** 2, 0) / x.length;
    return x.map((value) => (value - mean) / Math.sqrt(variance + epsilon));
  },
  // Each unit of a pixel of the output is a sum over its window of the input, which moves by
  // `stride`; the kernel has (rows, columns, inputs, units). Outside of the input are zeros.
  convolution(layer) {
    const { weights, units, finish } = parameters(layer);
    const [[height, width, inputs], [rows, columns], [down, across]] =
      [layer.shape, layer.size, layer.stride];
    const [high, wide] = [Math.ceil(height / down), Math.ceil(width / across)];
    const above = Math.floor(Math.max((high - 1) * down + rows - height, 0) / 2);
    const left = Math.floor(Math.max((wide - 1) * across + columns - width, 0) / 2);
    return (x) => {
      const sums = new Float64Array(high * wide * units);
      for (let p = 0; p < high * wide; p++) {
        const [top, begin] = [Math.floor(p / wide) * down - above, (p % wide) * across - left];
        for (let a = 0, k = 0; a < rows; a++)
          for (let b = 0; b < columns; b++, k += inputs * units) {
            const [i, j] = [top + a, begin + b];
            if (i < 0 || i >= height || j < 0 || j >= width) continue;
            const at = (i * width + j) * inputs;
            for (let c = 0, w = k; c < inputs; c++)
              for (let u = p * units; u < (p + 1) * units; u++, w++)
                sums[u] += x[at + c] * weights[w];
          }
      }
      return finish(sums);
    };
  },
  // Each pixel of the input adds its multiple of the kernel (rows, columns, units, inputs) to the
  // output, `stride` further on for each step in the input.
  transposed(layer) {
    const { weights, units, finish } = parameters(layer);
    const [[height, width, inputs], [rows, columns], [down, across]] =
      [layer.shape, layer.size, layer.stride];
    const above = Math.floor(Math.max(rows - down, 0) / 2);
    const left = Math.floor(Math.max(columns - across, 0) / 2);
    return (x) => {
      const sums = new Float64Array(height * down * width * across * units);
      for (let p = 0; p < height * width; p++) {
        const [top, begin] = [Math.floor(p / width) * down - above, (p % width) * across - left];
        for (let a = 0, k = 0; a < rows; a++)
          for (let b = 0; b < columns; b++, k += units * inputs) {
            const [i, j] = [top + a, begin + b];
            if (i < 0 || i >= height * down || j < 0 || j >= width * across) continue;
            const at = (i * width * across + j) * units;
            for (let u = 0, w = k; u < units; u++) {
              let sum = 0;
              for (let c = p * inputs; c < (p + 1) * inputs; c++, w++) sum += x[c] * weights[w];
              sums[at + u] += sum;
            }
          }
      }
      return finish(sums);
    };
  },
  crop: ({ shape: [height, width, channels], by: [[top, bottom], [left, right]] }) => (x) =>
    x.filter((_, i) => {
      const [row, column] = [Math.floor(i / (width * channels)), Math.floor(i / channels) % width];
      return row >= top && row < height - bottom && column >= left && column < width - right;
    }),
};

// A function of flat arrays: the layers, one after the other.
function network(layers) {
  const functions = layers.map((layer) => LAYERS[layer.kind](layer));
  return (input) => functions.reduce((x, layer) => layer(x), Float64Array.from(input));
}
