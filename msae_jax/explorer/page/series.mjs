// The series over time: its channels, the score of each point, the threshold and the alarms.

import { numberOf, short } from "./content.mjs";
import { byId, css, element, sized } from "./drawing.mjs";
import { on, select, state } from "./state.mjs";

const LEFT = 52, MOST_BANDS = 4;

// Returns the time of a point of the series as people write it.
export function timeOf(series, point) {
  if (!series.times) return `point ${series.first + point}`;
  const value = series.times.values[point];
  if (series.times.kind === "seconds") return `${value} s`;
  return new Date(value).toISOString().slice(0, 19).replace("T", " ");
}

export function setUpSeries() {
  const { series } = state.content;
  if (!series) return;
  byId("series").hidden = false;
  const canvas = element("canvas", { role: "img", tabIndex: 0 });
  byId("chart").append(canvas);
  const points = series.scores.length;
  const redraw = () => draw(canvas, series);
  canvas.addEventListener("click", (event) => {
    const box = canvas.getBoundingClientRect();
    const share = (event.clientX - box.left - LEFT) / (box.width - LEFT);
    select(windowAt(series, Math.round(share * (points - 1))));
  });
  canvas.addEventListener("keydown", (event) => {
    const step = { ArrowLeft: -1, ArrowRight: 1, PageUp: -20, PageDown: 20 }[event.key];
    if (!step) return;
    event.preventDefault();
    select(Math.min(Math.max(state.sample + step, 0), state.content.n - 1));
  });
  new ResizeObserver(redraw).observe(canvas);
  on("sample", () => {
    redraw();
    const begin = series.starts[state.sample];
    canvas.setAttribute("aria-label", `The series from ${timeOf(series, 0)} to ${timeOf(series, points - 1)}, `
      + `with ${series.alarms.length} alarms. The selected window begins at ${timeOf(series, begin)}. `
      + "Left and right arrow keys select the window before and after it.");
    byId("series-text").textContent = `Window ${numberOf(state.content, state.sample)}: ${timeOf(series, begin)} to `
      + `${timeOf(series, begin + series.window - 1)}. ${explanation(series)}`;
  });
  listAlarms(series);
}

function explanation(series) {
  const score = `A score is the squared error of the reconstruction, scaled, mean over channels and ${series.seeds} seed(s).`;
  if (series.threshold === null) return `${score} The training data are not at hand, so there is no threshold.`;
  const alarms = series.alarms.length === 1 ? "There is one alarm" : `There are ${series.alarms.length || "no"} alarms`;
  return `${score} ${alarms}: scores above ${short(series.threshold)}, the quantile 0.99 of the scores of the training part.`;
}

function listAlarms(series) {
  const items = series.alarms.map(([start, end, peak, score]) => {
    const button = element("button", { type: "button" },
      `${timeOf(series, start)} to ${timeOf(series, end - 1)}: ${short(score)}`);
    button.addEventListener("click", () => select(windowAt(series, peak)));
    return element("li", {}, button);
  });
  byId("alarms").replaceChildren(...items);
}

// Returns the window whose middle is nearest to a point.
function windowAt(series, point) {
  let best = 0, least = Infinity;
  series.starts.forEach((start, i) => {
    const distance = Math.abs(start + series.window / 2 - point);
    if (distance < least) [best, least] = [i, distance];
  });
  return best;
}

// Returns the lowest and the highest value in each of `columns` equal parts of a series.
function extremes(values, step, offset, columns) {
  const points = values.length / step;
  const low = new Float32Array(columns).fill(NaN), high = new Float32Array(columns).fill(NaN);
  for (let t = 0; t < points; t++) {
    const value = values[t * step + offset], x = Math.floor((t * columns) / points);
    if (Number.isNaN(value)) continue;
    if (!(value >= low[x])) low[x] = Number.isNaN(low[x]) ? value : Math.min(low[x], value);
    if (!(value <= high[x])) high[x] = Number.isNaN(high[x]) ? value : Math.max(high[x], value);
  }
  return { low, high };
}

function draw(canvas, series) {
  const { clientWidth: width, clientHeight: height } = canvas;
  if (!width) return;
  const context = sized(canvas, width, height), points = series.scores.length;
  const x = (t) => LEFT + (t / points) * (width - LEFT);
  const shade = (ranges, colour) => {
    context.fillStyle = colour;
    for (const [a, b] of ranges) context.fillRect(x(a), 0, Math.max(x(b) - x(a), 1.5), height);
  };
  shade(series.labels, css("--label"));
  shade(series.alarms, css("--alarm"));
  const channels = series.channels.length, shown = Math.min(channels, MOST_BANDS);
  const band = height / (shown + 1);
  for (let c = 0; c < shown; c++) {
    curve(context, series.values, channels, c, band * c, band, width, series.channels[c], css("--accent"));
  }
  const top = band * shown;
  const y = curve(context, series.scores, 1, 0, top, band, width, "score", css("--ink"), series.threshold);
  if (series.threshold !== null) {
    context.strokeStyle = css("--mark");
    context.setLineDash([6, 4]);
    context.beginPath();
    context.moveTo(LEFT, y(series.threshold));
    context.lineTo(width, y(series.threshold));
    context.stroke();
    context.setLineDash([]);
  }
  const begin = series.starts[state.sample];
  context.strokeStyle = css("--mark");
  context.lineWidth = 2;
  context.strokeRect(x(begin), 1, Math.max(x(begin + series.window) - x(begin), 3), height - 2);
}

// Draws one curve in a band of the chart with its name and its range; returns its height of a value.
function curve(context, values, step, offset, top, band, width, name, colour, reach = null) {
  const columns = Math.max(1, Math.min(Math.floor(width - LEFT), values.length / step));
  const { low, high } = extremes(values, step, offset, columns);
  const known = (list) => Array.from(list).filter((value) => !Number.isNaN(value));
  const least = Math.min(...known(low)), most = Math.max(...known(high), reach ?? -Infinity);
  const y = (value) => top + 6 + (band - 12) * (1 - (value - least) / (most - least || 1));
  context.strokeStyle = colour;
  context.lineWidth = 1.2;
  context.beginPath();
  let broken = true;
  for (let i = 0; i < columns; i++) {
    if (Number.isNaN(low[i])) { broken = true; continue; }
    const at = LEFT + ((i + 0.5) / columns) * (width - LEFT);
    context[broken ? "moveTo" : "lineTo"](at, y(high[i]));
    context.lineTo(at, y(low[i]));
    broken = false;
  }
  context.stroke();
  context.fillStyle = css("--faint");
  context.font = "11px system-ui, sans-serif";
  [[short(most), 14], [name.slice(0, 8), band / 2 + 4], [short(least), band - 5]].forEach(([text, down]) => {
    context.fillText(text, 2, top + down);
  });
  return y;
}
