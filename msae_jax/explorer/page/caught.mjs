// What a lasso has caught: how many, of which classes, and their mean.

import { latentOf, original, short } from "./content.mjs";
import { byId, sampleFigure } from "./drawing.mjs";
import { nearestPoints } from "./latents.mjs";
import { model, on, say, state, tell } from "./state.mjs";

const MOST = 400;  // reconstructions that are averaged

export function setUpCaught() {
  const names = ["Mean original", "Mean reconstruction", "Decoded mean latent"];
  const figures = names.map((name) => sampleFigure(name));
  let job = 0;
  byId("caught-near").addEventListener("click", () => {
    const count = Math.max(1, Math.floor(Number(byId("caught-count").value) || 1));
    state.caught = nearestPoints(model(), state.p, count).map(([, i]) => i);
    tell("caught");
  });
  byId("caught-clear").addEventListener("click", () => { state.caught = []; tell("caught"); });
  const show = () => {
    job++;
    const { caught } = state;
    byId("caught-figures").replaceChildren(...(caught.length ? figures : []));
    byId("caught-text").textContent = summary(caught);
    if (!caught.length) return;
    byId("caught").open = true;
    figures[0].paint(meanOf(caught.map((i) => original(state.content, i))));
    figures[2].paint(model().decode(meanOf(caught.map((i) => latentOf(model(), i)))));
    const picked = caught.length <= MOST ? caught
      : Array.from({ length: MOST }, (_, k) => caught[Math.floor((k * caught.length) / MOST)]);
    average(picked, figures[1], caught.length, () => job);
  };
  on("caught", () => { show(); say(byId("caught-text").textContent); });
  on("model", show);
}

// Averages reconstructions in slices of a few milliseconds, so that the page answers meanwhile.
function average(picked, figure, all, current) {
  const own = current(), decode = model().decode, latents = picked.map((i) => latentOf(model(), i));
  let sum = null, done = 0;
  const slice = () => {
    if (current() !== own) return;  // something else is caught by now
    const until = performance.now() + 12;
    while (done < latents.length && performance.now() < until) {
      const output = decode(latents[done++]);
      sum ??= new Float64Array(output.length);
      for (let k = 0; k < output.length; k++) sum[k] += output[k];
    }
    const of = done === all ? `all ${all}` : `${done} of ${all}`;
    figure.paint(Float32Array.from(sum, (value) => value / done), { caption: `Mean reconstruction of ${of}` });
    if (done < latents.length) setTimeout(slice);
  };
  slice();
}

// The mean of samples, value by value; what is missing in one of them does not count.
function meanOf(rows) {
  const sum = new Float64Array(rows[0].length), count = new Float64Array(rows[0].length);
  for (const row of rows) {
    for (let k = 0; k < row.length; k++) {
      if (Number.isNaN(row[k])) continue;
      sum[k] += row[k];
      count[k]++;
    }
  }
  return Float32Array.from(sum, (value, k) => value / count[k]);
}

function summary(caught) {
  if (!caught.length) return "Nothing is caught. Draw a lasso in the plane, or catch the samples near the selected point.";
  const error = caught.reduce((sum, i) => sum + model().errors[i], 0) / caught.length;
  const column = state.content.columns.find((one) => one.names);
  let classes = "";
  if (column) {
    const counts = new Map();
    for (const i of caught) counts.set(column.values[i], (counts.get(column.values[i]) ?? 0) + 1);
    const sorted = [...counts].sort((a, b) => b[1] - a[1]).slice(0, 6);
    classes = ` Most frequent ${column.name}: ${sorted.map(([c, k]) => `${column.names[c]} (${k})`).join(", ")}.`;
  }
  return `${caught.length} samples are caught. Their mean squared error is ${short(error)}.${classes}`;
}
