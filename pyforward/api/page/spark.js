// A line of the last two minutes, as small as a word.

const POINTS = 120;
const LEAST_POINTS = 20; // a line that has just begun is stretched, but not to a wall
const WIDTH = 120;
const HEIGHT = 28;
const SVG = "http://www.w3.org/2000/svg";

/** The history of a figure, one value a second. */
export class History {
  #values = [];

  add(value) {
    this.#values.push(value ?? 0);
    if (this.#values.length > POINTS) this.#values.shift();
  }

  get values() {
    return this.#values;
  }
}

/** An SVG that {@link draw} fills. */
export function makeSpark() {
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("class", "spark");
  svg.setAttribute("viewBox", `0 0 ${WIDTH} ${HEIGHT}`);
  svg.setAttribute("preserveAspectRatio", "none");
  svg.setAttribute("aria-hidden", "true"); // the figure stands beside it in words
  for (const kind of ["area", "line"]) {
    const path = document.createElementNS(SVG, "path");
    path.setAttribute("class", kind);
    svg.append(path);
  }
  return svg;
}

/** Draws the history; `least` is the smallest value that fills the height. */
export function draw(svg, history, least = 1) {
  const { values } = history;
  const top = Math.max(least, ...values);
  const step = WIDTH / (Math.max(values.length, LEAST_POINTS) - 1);
  const left = WIDTH - (values.length - 1) * step;
  const line = values
    .map((value, index) => {
      const x = (left + index * step).toFixed(1);
      const y = (HEIGHT - 1 - (value / top) * (HEIGHT - 3)).toFixed(1);
      return `${index === 0 ? "M" : "L"}${x} ${y}`;
    })
    .join("");
  const [area, path] = svg.children;
  path.setAttribute("d", line);
  area.setAttribute("d", line && `${line}L${WIDTH} ${HEIGHT}L${left.toFixed(1)} ${HEIGHT}Z`);
}
