// Elements of a drawing: shapes and text in the page's font, in colours that follow the theme.

// Okabe and Ito's palette, as in figures.py. Those from `ink` on follow the page's theme.
export const COLOUR = {
  blue: "#0072B2", orange: "#E69F00", green: "#009E73", vermilion: "#D55E00", grey: "#999999", sky: "#56B4E9",
  purple: "#CC79A7", ink: "var(--ink)", muted: "var(--muted)", rule: "var(--rule)", track: "var(--track)", paper: "var(--paper)",
};

/** An SVG element; an attribute that is undefined is left out. */
export function shape(tag, attributes, ...children) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) if (value !== undefined) made.setAttribute(name, value);
  made.append(...children);
  return made;
}

/** A text at (x, y), its baseline; `more` are attributes, such as "text-anchor". */
export const text = (x, y, string, more = {}) => shape("text", { x, y, fill: COLOUR.ink, ...more }, string);

export const rect = (x, y, width, height, fill, more = {}) => shape("rect", { x, y, width, height, fill, ...more });

export const line = (x1, y1, x2, y2, stroke, more = {}) => shape("line", { x1, y1, x2, y2, stroke, ...more });

/** A line through points [x, y]. */
export const path = (points, stroke, more = {}) =>
  shape("polyline", { points: points.map((p) => p.join(",")).join(" "), stroke, fill: "none", "stroke-width": 2, ...more });

/** Room enough for `string` in pixels: the mean letter of a page's font is narrower than this. */
export const roomFor = (string, size = 13) => 0.6 * size * string.length;
