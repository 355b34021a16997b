// The data of the page, unpacked, and what is asked of them.

import { compile } from "./graph.mjs";
import { unpack } from "./tensors.mjs";

const optional = async (packed) => (packed ? (await unpack(packed)).data : null);

async function loadModel(given) {
  const latents = await unpack(given.latents);
  const prior = { kind: given.prior.kind };
  for (const name of ["mean", "factor", "deviation"]) prior[name] = await optional(given.prior[name]);
  return {
    seed: given.seed,
    latents: latents.data,
    dims: latents.shape[1],
    errors: await optional(given.errors),
    points: await optional(given.points),
    method: given.method,
    mean: await optional(given.mean),
    components: await optional(given.components),
    explained: given.explained,
    prior,
    checked: { rows: given.checked.rows, values: await optional(given.checked.values) },
    decode: await compile(given.decoder),
  };
}

async function loadSeries(given) {
  if (!given) return null;
  const parts = { ...given };
  for (const name of ["values", "scores", "starts"]) parts[name] = await optional(given[name]);
  if (given.times) parts.times = { kind: given.times.kind, values: await optional(given.times.values) };
  return parts;
}

// Returns the content of the page from its JSON values.
export async function load(given) {
  const samples = { ...given.samples };
  samples.values = await optional(given.samples.values);
  samples.starts = await optional(given.samples.starts);
  samples.size = samples.shape.reduce((a, b) => a * b, 1);
  const columns = await Promise.all(given.columns.map(async (column) =>
    ({ ...column, values: await optional(column.values) })));
  const models = await Promise.all(given.models.map(loadModel));
  const content = {
    ...given, samples, columns, models,
    rows: await optional(given.rows),
    series: await loadSeries(given.series),
    n: models[0].errors.length,
  };
  if (samples.kind === "curve") samples.ranges = rangesOf(content);
  return content;
}

// Returns the values of sample i as the model reads them; what is missing is NaN.
export function original(content, i) {
  const { kind, values, starts, size, shape, low, high } = content.samples;
  if (kind === "curve") {
    const begin = starts ? starts[i] * shape[1] : i * size;
    return values.subarray(begin, begin + size);
  }
  const scale = (high - low) / 255;
  return Float32Array.from(values.subarray(i * size, (i + 1) * size), (v) => low + v * scale);
}

// Returns the latent of sample i of a model, a copy.
export function latentOf(model, i) {
  return model.latents.slice(i * model.dims, (i + 1) * model.dims);
}

// Returns the mean squared error per value of what two samples have in common.
export function errorOf(a, b) {
  let sum = 0, count = 0;
  for (let i = 0; i < a.length; i++) {
    const difference = a[i] - b[i];
    if (Number.isNaN(difference)) continue;
    sum += difference * difference;
    count++;
  }
  return sum / count;
}

// The number that a sample has in its split, and back; -1 where the page does not show it.
export const numberOf = (content, i) => (content.rows ? content.rows[i] : i);
export function placeOf(content, number) {
  if (!content.rows) return number >= 0 && number < content.n ? number : -1;
  return content.rows.indexOf(number);
}

// Returns the lowest and the highest value of each channel, in the user's units.
function rangesOf(content) {
  const { values, shape, center, width } = content.samples;
  const channels = shape[1];
  return center.map((shift, c) => {
    let low = Infinity, high = -Infinity;
    for (let i = c; i < values.length; i += channels) {
      if (values[i] < low) low = values[i];
      if (values[i] > high) high = values[i];
    }
    if (!(high > low)) [low, high] = [low - 1, low + 1];
    return [low * width[c] + shift, high * width[c] + shift];
  });
}

// Returns a number in four digits, for people.
export function short(value) {
  if (!Number.isFinite(value)) return "none";
  const size = Math.abs(value);
  if (size !== 0 && (size < 1e-3 || size >= 1e6)) return value.toExponential(2);
  return String(Number(value.toPrecision(4)));
}
