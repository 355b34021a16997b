// Arithmetic of latents: their place in the plane and back, paths, samples of a prior.

// Returns where a latent lies in the plane, or null where only samples have a place (t-SNE, UMAP).
export function placed(model, z) {
  if (!model.components) return null;
  const p = [0, 0];
  for (let axis = 0; axis < 2; axis++) {
    for (let d = 0; d < model.dims; d++) {
      p[axis] += (z[d] - model.mean[d]) * model.components[axis * model.dims + d];
    }
  }
  return p;
}

// Returns the sample whose point is nearest to p in the plane, or whose latent is nearest to z.
export function nearestPoint(model, p) {
  let best = 0, least = Infinity;
  for (let i = 0; i < model.errors.length; i++) {
    const dx = model.points[2 * i] - p[0], dy = model.points[2 * i + 1] - p[1];
    const distance = dx * dx + dy * dy;
    if (distance < least) [best, least] = [i, distance];
  }
  return best;
}

export function nearestLatent(model, z) {
  let best = 0, least = Infinity;
  for (let i = 0, at = 0; i < model.errors.length; i++) {
    let distance = 0;
    for (let d = 0; d < model.dims; d++, at++) distance += (model.latents[at] - z[d]) ** 2;
    if (distance < least) [best, least] = [i, distance];
  }
  return best;
}

// Returns the k samples whose points are nearest to p, the nearest first.
export function nearestPoints(model, p, k) {
  const distances = Array.from(model.errors, (_, i) =>
    [(model.points[2 * i] - p[0]) ** 2 + (model.points[2 * i + 1] - p[1]) ** 2, i]);
  distances.sort((a, b) => a[0] - b[0]);
  return distances.slice(0, k);
}

// Returns the latent that a point stands for after it was moved from `from` to `to` in the plane.
// Of a linear plane exactly: what is orthogonal to the plane stays. Else the latents of the eight
// nearest samples are averaged, each weighted by 1 / its squared distance in the plane.
export function moved(model, z, from, to) {
  const result = z.slice();
  if (model.components) {
    for (let d = 0; d < model.dims; d++) {
      result[d] += (to[0] - from[0]) * model.components[d]
        + (to[1] - from[1]) * model.components[model.dims + d];
    }
    return result;
  }
  const near = nearestPoints(model, to, 8);
  if (near[0][0] === 0) return model.latents.slice(near[0][1] * model.dims, (near[0][1] + 1) * model.dims);
  const total = near.reduce((sum, [distance]) => sum + 1 / distance, 0);
  const mean = new Float64Array(model.dims);
  for (const [distance, i] of near) {
    const share = 1 / distance / total;
    for (let d = 0; d < model.dims; d++) mean[d] += share * model.latents[i * model.dims + d];
  }
  return Float32Array.from(mean);
}

export function linear(a, b, t) {
  return a.map((value, d) => (1 - t) * value + t * b[d]);
}

// Returns sin((1 - t) w) / sin(w) a + sin(t w) / sin(w) b, w the angle of a and b; the straight line
// where there is no angle, and null of opposite vectors, which every great circle joins.
export function spherical(a, b, t) {
  let dot = 0, left = 0, right = 0;
  for (let d = 0; d < a.length; d++) {
    dot += a[d] * b[d];
    left += a[d] * a[d];
    right += b[d] * b[d];
  }
  const norms = Math.sqrt(left * right);
  if (norms === 0) return linear(a, b, t);
  const angle = Math.acos(Math.min(Math.max(dot / norms, -1), 1));
  if (angle < 1e-6) return linear(a, b, t);
  if (Math.PI - angle < 1e-6) return null;
  const [p, q] = [Math.sin((1 - t) * angle), Math.sin(t * angle)];
  return a.map((value, d) => (p * value + q * b[d]) / Math.sin(angle));
}

// Returns a standard normal number (Box and Muller, 1958).
function normal() {
  return Math.sqrt(-2 * Math.log(1 - Math.random())) * Math.cos(2 * Math.PI * Math.random());
}

// Returns a latent drawn from a model's prior.
export function drawn(model) {
  const noise = Float32Array.from({ length: model.dims }, normal);
  const { kind, mean, factor, deviation } = model.prior;
  if (kind === "normal") return noise;
  if (kind === "independent") return noise.map((value, d) => mean[d] + deviation[d] * value);
  return noise.map((_, d) => noise.reduce(
    (sum, value, k) => sum + factor[d * model.dims + k] * value, mean[d]));
}

// Returns the mean and the standard deviation of each latent over the samples.
export function moments(model) {
  const n = model.errors.length, mean = new Float64Array(model.dims), square = new Float64Array(model.dims);
  for (let i = 0, at = 0; i < n; i++) {
    for (let d = 0; d < model.dims; d++, at++) mean[d] += model.latents[at] / n;
  }
  for (let i = 0, at = 0; i < n; i++) {
    for (let d = 0; d < model.dims; d++, at++) square[d] += (model.latents[at] - mean[d]) ** 2 / n;
  }
  return { mean, deviation: square.map(Math.sqrt) };
}
