// Operators of ONNX that act on each element by itself. Sums are made in double precision and every
// result is rounded to float32 once.

import { broadcastIndices, broadcastShape, sizeOf } from "./tensors.mjs";

function unary(fn) {
  return (_, [x]) => {
    const data = new x.data.constructor(x.data.length);
    for (let i = 0; i < data.length; i++) data[i] = fn(x.data[i]);
    return { data, shape: x.shape };
  };
}

// Returns fn of two tensors; `Kind` is the array of the result, by default that of the first.
function combine(a, b, fn, Kind = a.data.constructor) {
  const shape = broadcastShape([a.shape, b.shape]);
  const n = sizeOf(shape);
  const data = new Kind(n);
  const x = a.data, y = b.data;
  if (x.length === n && y.length === n) {
    for (let i = 0; i < n; i++) data[i] = fn(x[i], y[i]);
  } else if (x.length === n && y.length === 1) {
    for (let i = 0; i < n; i++) data[i] = fn(x[i], y[0]);
  } else {
    const left = broadcastIndices(a.shape, shape), right = broadcastIndices(b.shape, shape);
    for (let i = 0; i < n; i++) data[i] = fn(x[left[i]], y[right[i]]);
  }
  return { data, shape };
}

const binary = (fn) => (_, [a, b]) => combine(a, b, fn);
const truth = (fn) => (_, [a, b]) => combine(a, b, fn, Uint8Array);
const folded = (fn) => (_, inputs) => inputs.reduce((a, b) => combine(a, b, fn));

function divide(_, [a, b]) {
  const whole = a.data instanceof Int32Array;
  return combine(a, b, whole ? (x, y) => Math.trunc(x / y) : (x, y) => x / y);
}

function where(_, [condition, a, b]) {
  const shape = broadcastShape([condition.shape, a.shape, b.shape]);
  const data = new a.data.constructor(sizeOf(shape));
  const [which, left, right] = [condition, a, b].map((x) => broadcastIndices(x.shape, shape));
  for (let i = 0; i < data.length; i++) {
    data[i] = condition.data[which[i]] ? a.data[left[i]] : b.data[right[i]];
  }
  return { data, shape };
}

// The error function: its Taylor series near 0, and the continued fraction of erfc further out.
export function erf(x) {
  const size = Math.abs(x);
  if (size > 6) return Math.sign(x);
  if (size < 2.5) {
    let term = x, sum = x;
    for (let n = 1; Math.abs(term) > 1e-17 * Math.abs(sum); n++) {
      term *= (-x * x) / n;
      sum += term / (2 * n + 1);
    }
    return (2 / Math.sqrt(Math.PI)) * sum;
  }
  let fraction = 0;
  for (let n = 60; n >= 1; n--) fraction = n / 2 / (size + fraction);
  const rest = Math.exp(-x * x) / Math.sqrt(Math.PI) / (size + fraction);
  return Math.sign(x) * (1 - rest);
}

const sigmoid = (x) => (x >= 0 ? 1 / (1 + Math.exp(-x)) : Math.exp(x) / (1 + Math.exp(x)));

const TYPES = { 1: Float32Array, 6: Int32Array, 7: Int32Array, 9: Uint8Array };

function cast({ attributes }, [x]) {
  const Kind = TYPES[attributes.to];
  if (!Kind) throw new Error(`Cast to type ${attributes.to}`);
  if (Kind === x.data.constructor) return x;
  return { data: Kind.from(x.data, Kind === Uint8Array ? (v) => (v ? 1 : 0) : undefined), shape: x.shape };
}

export const ELEMENTWISE = {
  Abs: unary(Math.abs),
  Add: binary((x, y) => x + y),
  And: truth((x, y) => (x && y ? 1 : 0)),
  Cast: cast,
  Cos: unary(Math.cos),
  Div: divide,
  Equal: truth((x, y) => (x === y ? 1 : 0)),
  Erf: unary(erf),
  Exp: unary(Math.exp),
  Greater: truth((x, y) => (x > y ? 1 : 0)),
  GreaterOrEqual: truth((x, y) => (x >= y ? 1 : 0)),
  Identity: (_, [x]) => x,
  Less: truth((x, y) => (x < y ? 1 : 0)),
  LessOrEqual: truth((x, y) => (x <= y ? 1 : 0)),
  Log: unary(Math.log),
  Max: folded((x, y) => Math.max(x, y)),
  Min: folded((x, y) => Math.min(x, y)),
  Mul: binary((x, y) => x * y),
  Neg: unary((x) => -x),
  Not: unary((x) => (x ? 0 : 1)),
  Or: truth((x, y) => (x || y ? 1 : 0)),
  Pow: binary(Math.pow),
  Reciprocal: unary((x) => 1 / x),
  Relu: unary((x) => Math.max(x, 0)),
  Sigmoid: unary(sigmoid),
  Sign: unary(Math.sign),
  Sin: unary(Math.sin),
  Sqrt: unary(Math.sqrt),
  Sub: binary((x, y) => x - y),
  Tanh: unary(Math.tanh),
  Where: where,
};
