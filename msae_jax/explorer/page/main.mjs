// Puts the page together once its data are unpacked.

import { setUpCaught } from "./caught.mjs";
import { latentOf, load, short } from "./content.mjs";
import { byId, coloursOf, element, ramp } from "./drawing.mjs";
import { Plane } from "./plane.mjs";
import { listen } from "./pointer.mjs";
import { setUpSample, setUpSliders } from "./sample.mjs";
import { setUpSeries } from "./series.mjs";
import { decode, model, on, select, state, tell } from "./state.mjs";
import { setUpArithmetic, setUpPrior, setUpWalk } from "./tools.mjs";

const METHODS = {
  latent: "The axes are the latents themselves.",
  tsne: "t-SNE: near points have near latents; distances and axes mean nothing. A place between the "
    + "points stands for no latent of its own: the latents of the eight nearest samples are averaged, "
    + "each weighted by one over its squared distance.",
  umap: "UMAP: near points have near latents; distances and axes mean little. A place between the "
    + "points stands for no latent of its own: the latents of the eight nearest samples are averaged, "
    + "each weighted by one over its squared distance.",
};

const MOST_NAMED = 64;  // classes in the legend

function projectionText() {
  const { method, explained, dims } = model();
  if (method === "latent" && dims === 1) return "Across is the one latent; up and down only spreads the points.";
  if (method !== "pca") return METHODS[method];
  const [first, second] = explained.map((share) => `${(100 * share).toFixed(1)}%`);
  return `The two principal components of the ${dims} latents, with ${first} and ${second} of their variance. `
    + "Where a point is dragged, its latent moves in this plane, and what is orthogonal to the plane stays.";
}

function setUpPlanes() {
  const planes = state.content.models.map((_, k) => new Plane(k));
  state.planes = planes;
  planes.forEach(listen);
  byId("planes").append(...planes.map((plane) => plane.figure));
  byId("planes").classList.toggle("many", planes.length > 1);
  const every = (topic, pointsToo) => on(topic, () => planes.forEach((plane) => plane.draw(pointsToo)));
  ["latent", "caught", "path"].forEach((topic) => every(topic, false));
  every("colour", true);
  on("sample", () => planes.forEach((plane) => plane.drawReconstruction()));
  on("model", () => {
    byId("projection").textContent = projectionText();
    planes.forEach((plane) => { if (plane.radio) plane.radio.checked = plane.k === state.active; });
    if (!state.content.columns[state.colour]) recolour();
  });
  const zoomAll = (fn) => () => planes.forEach(fn);
  byId("zoom-in").addEventListener("click", zoomAll((plane) => plane.zoom(1.25)));
  byId("zoom-out").addEventListener("click", zoomAll((plane) => plane.zoom(0.8)));
  byId("zoom-all").addEventListener("click", zoomAll((plane) => { plane.fit(); plane.draw(true); }));
  document.querySelectorAll("input[name=mode]").forEach((radio) =>
    radio.addEventListener("change", () => { state.mode = radio.value; }));
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => { recolour(); select(state.sample); });
}

// The columns of the page, then what the active model itself knows: its errors and its latents.
function columnOf(index) {
  const { columns, n } = state.content, own = model();
  if (index < columns.length) return columns[index];
  if (index === columns.length) return { name: "squared error", values: own.errors };
  const d = index - columns.length - 1;
  return { name: `z${d + 1}`, values: Float32Array.from({ length: n }, (_, i) => own.latents[i * own.dims + d]) };
}

function recolour() {
  const column = columnOf(state.colour);
  state.colours = coloursOf(column);
  const { names, palette, low, high } = state.colours;
  const swatch = (colour) => {
    const made = element("span", { className: "swatch" });
    made.style.background = colour;
    return made;
  };
  let items = [];
  if (names) {
    items = names.slice(0, MOST_NAMED).map((name, i) => element("li", {}, swatch(palette[i]), name));
    if (names.length > MOST_NAMED) items.push(element("li", {}, `and ${names.length - MOST_NAMED} more`));
  } else {
    const scale = element("span", { className: "ramp" });
    scale.style.background = `linear-gradient(to right, ${ramp().join(", ")})`;
    items = [element("li", {}, `${column.name}: ${short(low)}`, scale, short(high))];
  }
  byId("legend").replaceChildren(...items);
  tell("colour");
}

function setUpColours() {
  const { columns, color } = state.content, most = Math.min(model().dims, 128);
  const names = [...columns.map((column) => column.name), "squared error",
    ...Array.from({ length: most }, (_, d) => `latent z${d + 1}`)];
  byId("colour").append(...names.map((name, i) => element("option", { value: i }, name)));
  const own = { error: columns.length };
  const wanted = columns.findIndex((column) => column.name === color);
  const latent = /^z(\d+)$/.exec(color ?? "");
  state.colour = wanted >= 0 ? wanted : latent ? columns.length + Number(latent[1]) : own[color] ?? 0;
  byId("colour").value = state.colour;
  byId("colour").addEventListener("change", (event) => { state.colour = Number(event.target.value); recolour(); });
  recolour();
}

// Returns how far the page's own reconstructions are from those that the model gave when the page was
// made: the largest difference of a value.
function deviation(own) {
  const { rows, values } = own.checked, size = values.length / rows.length;
  let largest = 0;
  rows.forEach((row, k) => own.decode(latentOf(own, row)).forEach((value, i) => {
    largest = Math.max(largest, Math.abs(value - values[k * size + i]));
  }));
  return largest;
}

function setUpAbout() {
  const { content } = state, own = model(), { samples } = content;
  const worst = Math.max(...content.models.map(deviation));
  const begin = performance.now();
  for (let i = 0; i < 5; i++) decode(latentOf(own, i % content.n));
  state.each = (performance.now() - begin) / 5;
  state.deviation = worst;
  const precision = samples.kind === "curve" ? "Samples are stored in single precision."
    : samples.step === 0 ? "Images are stored as they are, in 256 intensities."
      : `Images are stored in 256 steps of ${short(samples.step)} from ${short(samples.low)} to ${short(samples.high)}; errors `
        + "of reconstructions are those of the exact images.";
  const facts = [
    "This page is one file. It loads nothing and sends nothing: its policy forbids every request.",
    `The decoder runs here. Its reconstructions of ${own.checked.rows.length} samples differ by at most `
      + `${worst.toExponential(1)} from those that JAX computed when the page was made. One takes ${state.each.toFixed(1)} ms.`,
    precision, ...content.notes, `Made with msae_jax ${content.version}.`,
  ];
  byId("about-list").replaceChildren(...facts.map((text) => element("li", {}, text)));
}

function summaryText() {
  const { content } = state, seeds = content.models.map((one) => one.seed);
  const count = content.n === content.total ? `all ${content.n}` : `${content.n} of ${content.total}`;
  const which = content.split === "all" ? "" : `${content.split} `;  // of another series all windows are
  return `${content.model} on ${content.data}: ${count} ${which}samples, ${model().dims} latents, `
    + `seed${seeds.length > 1 ? "s" : ""} ${seeds.join(", ")}.`;
}

async function start() {
  state.content = await load(JSON.parse(byId("data").textContent));
  byId("data").remove();
  byId("summary").textContent = summaryText();
  byId("main").hidden = false;
  setUpColours();
  setUpPlanes();
  setUpSample();
  setUpSliders();
  setUpSeries();
  setUpWalk();
  setUpArithmetic();
  setUpPrior();
  setUpCaught();
  setUpAbout();
  byId("projection").textContent = projectionText();
  select(0);
  window.explorer = { decode: (z) => decode(Float32Array.from(z)), screen: (k) => state.planes[k].toScreen(...state.p), state };
  requestAnimationFrame(() => {
    document.documentElement.dataset.ready = String(Math.round(performance.now()));
  });
}

start().catch((error) => {
  byId("problem").hidden = false;
  byId("problem").textContent = `This page could not be shown: ${error.message}. It needs a browser of 2023 or later.`;
  throw error;
});
