// The selected sample: itself, its reconstruction, and what the moved point decodes to; and a slider
// for each latent.

import { errorOf, latentOf, numberOf, original, placeOf, short } from "./content.mjs";
import { byId, element, sampleFigure } from "./drawing.mjs";
import { moments } from "./latents.mjs";
import { describe, model, on, say, select, setLatentSoon, state } from "./state.mjs";


export function setUpSample() {
  const figures = ["Original", "Reconstruction", "Decoded"].map((name) => sampleFigure(name));
  byId("sample-figures").append(...figures);
  const step = (by) => select((state.sample + by + state.content.n) % state.content.n);
  byId("previous").addEventListener("click", () => step(-1));
  byId("next").addEventListener("click", () => step(1));
  byId("random").addEventListener("click", () => select(Math.floor(Math.random() * state.content.n)));
  byId("restore").addEventListener("click", () => select(state.sample));
  setUpSearch();
  const behind = state.content.samples.kind === "curve" ? ", before the faint original" : "";
  on("sample", () => {
    const own = original(state.content, state.sample);
    const error = model().errors[state.sample];
    byId("search").value = numberOf(state.content, state.sample);
    figures[0].paint(own, { label: `Original of ${describe(state.sample)}` });
    figures[1].paint(state.output, {
      behind: own, caption: `Reconstruction${behind}`, label: `Reconstruction, squared error ${short(error)} per value`,
    });
    byId("sample-text").textContent = `${describe(state.sample)}. The squared error of its `
      + `reconstruction is ${short(error)}, mean over its values.`;
  });
  on("latent", () => {
    const own = original(state.content, state.sample);
    const caption = state.isOwn ? "Decoded: the reconstruction"
      : `Decoded where you moved it: error ${short(errorOf(state.output, own))}`;
    figures[2].paint(state.output, { behind: own, caption });
    byId("restore").disabled = state.isOwn;
  });
}

function setUpSearch() {
  byId("search").addEventListener("change", (event) => {
    const number = Number(event.target.value), i = placeOf(state.content, number);
    if (event.target.value !== "" && i >= 0) select(i);
    else say(`There is no sample ${event.target.value} in this page.`);
  });
}

const PAGE = 16;

// A slider for each latent, sixteen at a time.
export function setUpSliders() {
  let page = 0, order = [], found = null, rows = [];
  const sort = () => {
    found = moments(model());
    order = Array.from({ length: model().dims }, (_, d) => d);
    if (byId("order").value === "spread") order.sort((a, b) => found.deviation[b] - found.deviation[a]);
  };
  const fill = () => {
    const shown = order.slice(page * PAGE, (page + 1) * PAGE);
    rows = shown.map((d) => slider(d, found));
    byId("sliders").replaceChildren(...rows.map((row) => row.whole));
    const pages = Math.ceil(order.length / PAGE);
    byId("page-text").textContent = `${page * PAGE + 1} to ${page * PAGE + shown.length} of ${order.length}`;
    byId("page-back").disabled = page === 0;
    byId("page-on").disabled = page >= pages - 1;
    byId("page-back").parentElement.hidden = pages === 1;
    refresh();
  };
  const refresh = () => rows.forEach((row) => row.show(state.z[row.d]));
  const again = () => { page = 0; sort(); fill(); };
  const turn = (by) => { page += by; fill(); };
  byId("order").addEventListener("change", again);
  byId("page-back").addEventListener("click", () => turn(-1));
  byId("page-on").addEventListener("click", () => turn(1));
  on("latent", () => (order.length ? refresh() : again()));
  on("model", () => { order = []; });
}

// One slider, four standard deviations of the samples to either side of their mean.
function slider(d, { mean, deviation }) {
  const reach = 4 * deviation[d] || 1;
  const input = element("input", {
    type: "range", min: mean[d] - reach, max: mean[d] + reach, step: reach / 200, id: `z${d + 1}`,
  });
  const output = element("output", { htmlFor: `z${d + 1}` });
  input.addEventListener("input", () => {
    const z = state.z.slice();
    z[d] = Number(input.value);
    setLatentSoon(z);
  });
  const show = (value) => {
    if (document.activeElement !== input) input.value = value;
    output.textContent = value.toFixed(3);
    input.setAttribute("aria-valuetext", value.toFixed(3));
  };
  const whole = element("div", { className: "slider" }, element("label", { htmlFor: `z${d + 1}` }, `z${d + 1}`), input, output);
  return { d, whole, show };
}

// Returns the sample whose number stands in a field, or null after saying that there is none.
export function sampleIn(id) {
  const text = byId(id).value, i = placeOf(state.content, Number(text));
  if (text !== "" && i >= 0) return i;
  say(`There is no sample ${text || "without a number"} in this page.`);
  return null;
}

export const latentIn = (id) => {
  const i = sampleIn(id);
  return i === null ? null : latentOf(model(), i);
};
