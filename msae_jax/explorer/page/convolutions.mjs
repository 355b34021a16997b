// Convolutions and pools of ONNX over one or two axes, [B, C, L] or [B, C, H, W]. Sums are made in
// double precision; an input of zero, of which there are many behind a ReLU, costs nothing.

import { sizeOf } from "./tensors.mjs";

// Returns what a kernel is told along both axes; of one axis the first is a height of 1.
function geometry(x, kernel, attributes) {
  const two = (values, fill) => (values.length === 1 ? [fill, values[0]] : values);
  const count = x.shape.length - 2;
  const pads = attributes.pads ?? new Array(2 * count).fill(0);
  return {
    batch: x.shape[0],
    channels: x.shape[1],
    size: two(x.shape.slice(2), 1),
    kernel: two(kernel, 1),
    strides: two(attributes.strides ?? new Array(count).fill(1), 1),
    dilations: two(attributes.dilations ?? new Array(count).fill(1), 1),
    before: two(pads.slice(0, count), 0),
    after: two(pads.slice(count), 0),
    flat: count === 1,
  };
}

function outputShape(g, channels, size) {
  return [g.batch, channels, ...(g.flat ? size.slice(1) : size)];
}

const kept = new WeakMap();

// Returns weights as [group][kernel place][input channel][output channel]; made once of a constant.
// Those of a convolution are [output, input / groups, ...], those of a transposed one the reverse.
function arranged(weight, groups, reversed) {
  if (kept.has(weight)) return kept.get(weight);
  const [first, second] = weight.shape, places = sizeOf(weight.shape.slice(2));
  const share = first / groups;
  const inputs = reversed ? share : second, outputs = reversed ? second : share;
  const result = new Float32Array(weight.data.length);
  for (let g = 0; g < groups; g++) {
    for (let i = 0; i < share; i++) {
      for (let j = 0; j < second; j++) {
        const [input, output] = reversed ? [i, j] : [j, i];
        for (let k = 0; k < places; k++) {
          const at = ((g * places + k) * inputs + input) * outputs + output;
          result[at] = weight.data[((g * share + i) * second + j) * places + k];
        }
      }
    }
  }
  const found = { data: result, inputs, outputs };
  kept.set(weight, found);
  return found;
}

function conv({ attributes }, [x, weight, bias]) {
  const g = geometry(x, weight.shape.slice(2), attributes);
  const groups = attributes.group ?? 1;
  const w = arranged(weight, groups, false);
  const [height, width] = g.size, [kh, kw] = g.kernel;
  const size = [0, 1].map((i) => Math.floor(
    (g.size[i] + g.before[i] + g.after[i] - g.dilations[i] * (g.kernel[i] - 1) - 1) / g.strides[i],
  ) + 1);
  const places = size[0] * size[1], area = height * width, channels = groups * w.outputs;
  const data = new Float32Array(g.batch * channels * places);
  const sum = new Float64Array(w.outputs);
  for (let n = 0; n < g.batch * groups; n++) {
    const group = n % groups, from = n * w.inputs * area, to = n * w.outputs * places;
    for (let place = 0; place < places; place++) {
      for (let o = 0; o < w.outputs; o++) sum[o] = bias ? bias.data[group * w.outputs + o] : 0;
      const top = Math.floor(place / size[1]) * g.strides[0] - g.before[0];
      const left = (place % size[1]) * g.strides[1] - g.before[1];
      for (let k = 0; k < kh * kw; k++) {
        const row = top + Math.floor(k / kw) * g.dilations[0], column = left + (k % kw) * g.dilations[1];
        if (row < 0 || row >= height || column < 0 || column >= width) continue;
        const at = from + row * width + column, own = (group * kh * kw + k) * w.inputs;
        addChannels(sum, x.data, at, area, w, own);
      }
      for (let o = 0; o < w.outputs; o++) data[to + o * places + place] = sum[o];
    }
  }
  return { data, shape: outputShape(g, channels, size) };
}

// sum[o] += x[i] w[i, o] over the input channels i of one place.
function addChannels(sum, x, at, area, w, own) {
  const weights = w.data, outputs = w.outputs;
  for (let i = 0; i < w.inputs; i++) {
    const value = x[at + i * area];
    if (value === 0) continue;
    const begin = (own + i) * outputs;
    for (let o = 0; o < outputs; o++) sum[o] += value * weights[begin + o];
  }
}

function convTranspose({ attributes }, [x, weight, bias]) {
  const g = geometry(x, weight.shape.slice(2), attributes);
  const groups = attributes.group ?? 1;
  const w = arranged(weight, groups, true);
  const more = attributes.output_padding ?? [0, 0].slice(g.flat ? 1 : 0);
  const extra = g.flat ? [0, more[0]] : more;
  const size = [0, 1].map((i) => (g.size[i] - 1) * g.strides[i] + extra[i]
    + g.dilations[i] * (g.kernel[i] - 1) + 1 - g.before[i] - g.after[i]);
  const places = size[0] * size[1], area = g.size[0] * g.size[1], channels = groups * w.outputs;
  const data = new Float32Array(g.batch * channels * places);
  const sums = new Float64Array(places * w.outputs);
  for (let n = 0; n < g.batch * groups; n++) {
    const group = n % groups, to = n * w.outputs * places;
    sums.fill(0);
    for (let place = 0; place < area; place++) {
      scatter(sums, x.data, n * w.inputs * area + place, place, area, g, size, w, group);
    }
    for (let o = 0; o < w.outputs; o++) {
      const shift = bias ? bias.data[group * w.outputs + o] : 0;
      for (let p = 0; p < places; p++) data[to + o * places + p] = sums[p * w.outputs + o] + shift;
    }
  }
  return { data, shape: outputShape(g, channels, size) };
}

// Adds what one place of the input gives to the places of the output that it reaches.
function scatter(sums, x, at, place, area, g, size, w, group) {
  const [kh, kw] = g.kernel, outputs = w.outputs, weights = w.data;
  const top = Math.floor(place / g.size[1]) * g.strides[0] - g.before[0];
  const left = (place % g.size[1]) * g.strides[1] - g.before[1];
  for (let k = 0; k < kh * kw; k++) {
    const row = top + Math.floor(k / kw) * g.dilations[0], column = left + (k % kw) * g.dilations[1];
    if (row < 0 || row >= size[0] || column < 0 || column >= size[1]) continue;
    const target = (row * size[1] + column) * outputs, own = (group * kh * kw + k) * w.inputs;
    for (let i = 0; i < w.inputs; i++) {
      const value = x[at + i * area];
      if (value === 0) continue;
      const begin = (own + i) * outputs;
      for (let o = 0; o < outputs; o++) sums[target + o] += value * weights[begin + o];
    }
  }
}

function pool(mean) {
  return ({ attributes }, [x]) => {
    const g = geometry(x, attributes.kernel_shape, attributes);
    const [height, width] = g.size, [kh, kw] = g.kernel;
    const size = [0, 1].map((i) => {
      const room = g.size[i] + g.before[i] + g.after[i] - g.dilations[i] * (g.kernel[i] - 1) - 1;
      const steps = room / g.strides[i];
      if (!attributes.ceil_mode) return Math.floor(steps) + 1;
      const last = Math.ceil(steps);  // a window that begins behind the input does not count
      return last * g.strides[i] >= g.size[i] + g.before[i] ? last : last + 1;
    });
    const places = size[0] * size[1], maps = g.batch * g.channels;
    const data = new Float32Array(maps * places);
    for (let p = 0; p < places; p++) {
      const top = Math.floor(p / size[1]) * g.strides[0] - g.before[0];
      const left = (p % size[1]) * g.strides[1] - g.before[1];
      const inside = [];
      let padded = 0;
      for (let k = 0; k < kh * kw; k++) {
        const row = top + Math.floor(k / kw) * g.dilations[0], column = left + (k % kw) * g.dilations[1];
        if (row < height + g.after[0] && column < width + g.after[1]) padded++;
        if (row >= 0 && row < height && column >= 0 && column < width) inside.push(row * width + column);
      }
      const count = attributes.count_include_pad ? padded : inside.length;
      for (let m = 0; m < maps; m++) {
        let value = mean ? 0 : -Infinity;
        for (const at of inside) {
          const one = x.data[m * height * width + at];
          value = mean ? value + one : Math.max(value, one);
        }
        data[m * places + p] = mean ? value / count : value;
      }
    }
    return { data, shape: outputShape(g, g.channels, size) };
  };
}

export const CONVOLUTIONS = {
  AveragePool: pool(true),
  Conv: conv,
  ConvTranspose: convTranspose,
  MaxPool: pool(false),
};
