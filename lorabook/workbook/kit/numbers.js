// Numbers as Python's format() writes them, so that a text is the same in both languages.

/** f"{n:,}" of a whole number. */
export const grouped = (n) => String(n).replace(/\B(?=(\d{3})+$)/g, ",");

/** f"{value:.{digits}f}" of a value that is not negative. */
export function fixed(value, digits) {
  const text = value.toFixed(digits);
  const tie = (value * 2 ** (digits + 1)) % 2 === 1; // exactly between two: toFixed goes up, Python to the even digit
  const last = Number(text.at(-1));
  return tie && last % 2 ? text.slice(0, -1) + (last - 1) : text;
}

/** f"{value:,.0f}" of a value that is not negative. */
export const rounded = (value) => grouped(fixed(value, 0));

/** f"{value:.{digits}g}" of a value from 0.0001 to 10 ** digits, or 0. */
export function general(value, digits) {
  const exponent = Number(value.toExponential(digits - 1).split("e")[1]);
  const text = fixed(value, Math.max(0, digits - 1 - exponent));
  return text.includes(".") ? text.replace(/\.?0+$/, "") : text;
}

const UNITS = [[2 ** 40, "TiB"], [2 ** 30, "GiB"], [2 ** 20, "MiB"], [2 ** 10, "KiB"]];

/** `unit_of` of sizes.py: the largest unit that so many bytes fill, and its name. */
export const unitOf = (size) => UNITS.find(([unit]) => size >= unit) ?? UNITS.at(-1);

/** `size_text` of sizes.py: bytes in the unit that suits them, with three digits. */
export function sizeText(size) {
  const [unit, name] = unitOf(size / 0.9995);
  const value = size / unit;
  return `${value < 9.995 ? fixed(value, 2) : value < 99.95 ? fixed(value, 1) : rounded(value)} ${name}`;
}
