// Operators of ONNX that move elements without changing them, products of matrices, and reductions.

import {
  axisOf, broadcastIndices, broadcastShape, indicesOf, picked, sizeOf, stridesOf,
} from "./tensors.mjs";

function reshape({ attributes }, [x, wanted]) {
  const shape = Array.from(wanted.data, (length, i) =>
    length === 0 && !attributes.allowzero ? x.shape[i] : length);
  const open = shape.indexOf(-1);
  if (open >= 0) {
    const rest = shape.reduce((product, length) => (length === -1 ? product : product * length), 1);
    shape[open] = x.data.length / rest;
  }
  return { data: x.data, shape };
}

function transpose({ attributes }, [x]) {
  const order = attributes.perm ?? x.shape.map((_, i) => x.shape.length - 1 - i);
  const strides = stridesOf(x.shape);
  const shape = order.map((axis) => x.shape[axis]);
  return picked(x, indicesOf(shape, order.map((axis) => strides[axis])), shape);
}

function concat({ attributes }, inputs) {
  const axis = axisOf(attributes.axis, inputs[0].shape.length);
  const shape = inputs[0].shape.slice();
  shape[axis] = inputs.reduce((sum, x) => sum + x.shape[axis], 0);
  const data = new inputs[0].data.constructor(sizeOf(shape));
  const outer = sizeOf(shape.slice(0, axis));
  const widths = inputs.map((x) => x.data.length / outer);
  const row = widths.reduce((a, b) => a + b, 0);
  for (let i = 0; i < outer; i++) {
    let at = i * row;
    inputs.forEach((x, k) => {
      data.set(x.data.subarray(i * widths[k], (i + 1) * widths[k]), at);
      at += widths[k];
    });
  }
  return { data, shape };
}

function slice(_, [x, starts, ends, axes, steps]) {
  const strides = stridesOf(x.shape);
  const shape = x.shape.slice(), moves = strides.slice();
  let offset = 0;
  for (let i = 0; i < starts.data.length; i++) {
    const axis = axisOf(axes ? axes.data[i] : i, x.shape.length);
    const step = steps ? steps.data[i] : 1, length = x.shape[axis];
    const bound = (value) => {
      const at = value < 0 ? value + length : value;
      return step > 0 ? Math.min(Math.max(at, 0), length) : Math.min(Math.max(at, -1), length - 1);
    };
    // The end of a step backwards may lie before the first element: -length - 1 and less.
    const begin = bound(starts.data[i]), end = bound(ends.data[i]);
    shape[axis] = Math.max(0, Math.ceil((end - begin) / step));
    moves[axis] = strides[axis] * step;
    offset += begin * strides[axis];
  }
  return picked(x, indicesOf(shape, moves, offset), shape);
}

function pad(_, [x, pads, value, axes]) {
  const rank = x.shape.length;
  const before = new Array(rank).fill(0), after = new Array(rank).fill(0);
  const which = axes ? Array.from(axes.data) : x.shape.map((__, i) => i);
  which.forEach((axis, i) => {
    before[axisOf(axis, rank)] = pads.data[i];
    after[axisOf(axis, rank)] = pads.data[which.length + i];
  });
  const shape = x.shape.map((length, i) => length + before[i] + after[i]);
  const data = new x.data.constructor(sizeOf(shape));
  if (value) data.fill(value.data[0]);
  // What negative pads cut away is left out of the part that is copied.
  const from = before.map((n) => Math.max(-n, 0));
  const inner = x.shape.map((length, i) => length - from[i] - Math.max(-after[i], 0));
  const dot = (a, b) => a.reduce((sum, n, i) => sum + n * b[i], 0);
  const own = stridesOf(x.shape), target = stridesOf(shape);
  const source = indicesOf(inner, own, dot(from, own));
  const place = indicesOf(inner, target, dot(before.map((n) => Math.max(n, 0)), target));
  for (let i = 0; i < source.length; i++) data[place[i]] = x.data[source[i]];
  return { data, shape };
}

function expand(_, [x, wanted]) {
  const shape = broadcastShape([x.shape, Array.from(wanted.data)]);
  return picked(x, broadcastIndices(x.shape, shape), shape);
}

function squeeze(_, [x, axes]) {
  const rank = x.shape.length;
  const gone = axes ? Array.from(axes.data, (axis) => axisOf(axis, rank)) : null;
  const shape = x.shape.filter((length, i) => (gone ? !gone.includes(i) : length !== 1));
  return { data: x.data, shape };
}

function unsqueeze(_, [x, axes]) {
  const rank = x.shape.length + axes.data.length;
  const fresh = Array.from(axes.data, (axis) => axisOf(axis, rank));
  const rest = x.shape.slice();
  const shape = Array.from({ length: rank }, (__, i) => (fresh.includes(i) ? 1 : rest.shift()));
  return { data: x.data, shape };
}

function gather({ attributes }, [x, indices]) {
  const axis = axisOf(attributes.axis ?? 0, x.shape.length);
  const outer = sizeOf(x.shape.slice(0, axis)), inner = sizeOf(x.shape.slice(axis + 1));
  const shape = [...x.shape.slice(0, axis), ...indices.shape, ...x.shape.slice(axis + 1)];
  const data = new x.data.constructor(sizeOf(shape));
  let at = 0;
  for (let i = 0; i < outer; i++) {
    for (const index of indices.data) {
      const begin = (i * x.shape[axis] + axisOf(index, x.shape[axis])) * inner;
      data.set(x.data.subarray(begin, begin + inner), at);
      at += inner;
    }
  }
  return { data, shape };
}

function reduction(start, fn, mean = false) {
  return ({ attributes }, [x, axes]) => {
    const rank = x.shape.length;
    if (attributes.noop_with_empty_axes && !axes?.data.length) return x;
    const gone = axes ? Array.from(axes.data, (axis) => axisOf(axis, rank)) : x.shape.map((_, i) => i);
    const kept = x.shape.map((length, i) => (gone.includes(i) ? 1 : length));
    const total = new Float64Array(sizeOf(kept)).fill(start);
    const place = broadcastIndices(kept, x.shape);
    for (let i = 0; i < place.length; i++) total[place[i]] = fn(total[place[i]], x.data[i]);
    if (mean) for (let i = 0; i < total.length; i++) total[i] *= total.length / x.data.length;
    const keeps = attributes.keepdims ?? 1;
    const shape = keeps ? kept : x.shape.filter((_, i) => !gone.includes(i));
    return { data: x.data.constructor.from(total), shape };
  };
}

// sum[j] += row[i] * b[i, j] for one row of a matrix product; zeros of the row cost nothing.
function addRow(sum, row, begin, count, b, offset) {
  const width = sum.length;
  for (let k = 0; k < count; k++) {
    const value = row[begin + k];
    if (value === 0) continue;
    const at = offset + k * width;
    for (let j = 0; j < width; j++) sum[j] += value * b[at + j];
  }
}

function matmul(_, [a, b]) {
  const left = a.shape.length === 1 ? [1, ...a.shape] : a.shape;
  const right = b.shape.length === 1 ? [...b.shape, 1] : b.shape;
  const [rows, count] = left.slice(-2), width = right[right.length - 1];
  const batch = broadcastShape([left.slice(0, -2), right.slice(0, -2)]);
  const [from, other] = [left, right].map((s) => broadcastIndices(s.slice(0, -2), batch));
  const data = new Float32Array(sizeOf(batch) * rows * width);
  const sum = new Float64Array(width);
  for (let n = 0; n < from.length; n++) {
    for (let i = 0; i < rows; i++) {
      sum.fill(0);
      addRow(sum, a.data, (from[n] * rows + i) * count, count, b.data, other[n] * count * width);
      data.set(sum, (n * rows + i) * width);
    }
  }
  const shape = [...batch, rows, width];
  if (b.shape.length === 1) shape.pop();
  if (a.shape.length === 1) shape.splice(batch.length, 1);
  return { data, shape };
}

const turned = new WeakMap();

// Returns the transposed matrix; that of a constant is made once.
function matrixTransposed(x) {
  if (!turned.has(x)) turned.set(x, transpose({ attributes: { perm: [1, 0] } }, [x]));
  return turned.get(x);
}

function gemm({ attributes }, [a, b, c]) {
  const left = attributes.transA ? matrixTransposed(a) : a;
  const right = attributes.transB ? matrixTransposed(b) : b;
  const product = matmul(null, [left, right]);
  const alpha = attributes.alpha ?? 1, beta = attributes.beta ?? 1;
  const place = c ? broadcastIndices(c.shape, product.shape) : null;
  for (let i = 0; i < product.data.length; i++) {
    product.data[i] = alpha * product.data[i] + (c ? beta * c.data[place[i]] : 0);
  }
  return product;
}

export const LAYOUT = {
  Concat: concat,
  Expand: expand,
  Gather: gather,
  Gemm: gemm,
  MatMul: matmul,
  Pad: pad,
  ReduceMax: reduction(-Infinity, Math.max),
  ReduceMean: reduction(0, (a, b) => a + b, true),
  ReduceMin: reduction(Infinity, Math.min),
  ReduceSum: reduction(0, (a, b) => a + b),
  Reshape: reshape,
  Slice: slice,
  Squeeze: squeeze,
  Transpose: transpose,
  Unsqueeze: unsqueeze,
};
