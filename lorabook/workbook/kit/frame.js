// The frame that every explorer has: controls, the drawing, what it says in words, what folds out.
//
// An explorer is {shown, draw}. `shown(state, data)` gives the title, the readout, the details, what to copy and the values
// that are drawn, or throws a Refusal; `draw(shown, width)` gives [elements, height]. `spec` comes from Python: controls,
// presets, the state at the start, and the data that `shown` needs.
import { Refusal } from "./refusal.js";
import { STYLE } from "./style.js";
import { shape } from "./svg.js";

/** An HTML element with properties; `aria` and `data` attributes among them. */
export function element(tag, properties = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name.includes("-")) made.setAttribute(name, value);
    else made[name] = value;
  }
  made.append(...children);
  return made;
}

/** What an explorer shows in a state, or {error}. */
export function told(explorer, state, data) {
  try {
    return explorer.shown(state, data);
  } catch (error) {
    if (error instanceof Refusal) return { error: error.message };
    return { error: `This is a fault of the explorer: ${error}. Change a control to go on.` };
  }
}

/** What a control offers in a state: [text, value] pairs, which may depend on another field. */
const optionsOf = (control, state) => (control.by ? control.options[state[control.by]] : control.options);

const same = (a, b) => JSON.stringify(a) === JSON.stringify(b);

/** Whether every control offers what it has in `state`. */
export function offered(spec, state) {
  return spec.controls.every((control) => {
    const values = (optionsOf(control, state) ?? []).map(([, value]) => value);
    const chosen = control.kind === "boxes" ? state[control.name] : [state[control.name]];
    return Array.isArray(chosen) && chosen.every((value) => values.some((option) => same(option, value)));
  });
}

/** `state` with a field changed. Boxes that depend on it keep what is ticked if all of it is still offered. */
export function moved(spec, state, name, value) {
  const next = { ...state, [name]: value };
  for (const control of spec.controls.filter((c) => c.by === name)) {
    const values = optionsOf(control, next).map(([, option]) => option);
    if (!next[control.name].every((option) => values.includes(option))) next[control.name] = control.usual[value];
  }
  return next;
}

/**
 * Put an explorer into `host`, which shows a picture until then. `changed(state)` hears of the reader's moves, and
 * `link(state)`, if there, gives an address that leads to a state. Returns a function that sets the state from outside.
 */
export function mount(host, explorer, spec, data, state, changed, link) {
  const root = host.shadowRoot ?? host.attachShadow({ mode: "open" });
  host.dataset.lmSuppressShortcuts = "true"; // JupyterLab leaves the arrow keys to the controls
  for (const event of ["keydown", "keyup", "keypress"]) host.addEventListener(event, (e) => e.stopPropagation()); // so does the classic Notebook
  const move = (name, value) => set(moved(spec, state, name, value), true);
  const controls = spec.controls.map((control) => makers[control.kind](control, move));
  const presets = Object.entries(spec.presets).map(([name, preset]) =>
    element("button", { type: "button", textContent: name, onclick: () => set(preset, true) }),
  );
  const title = element("p", { className: "title" });
  const error = element("p", { className: "error", role: "alert", hidden: true });
  const [figure, readout] = [element("div", { className: "figure" }), element("div", { className: "readout", "aria-live": "polite" })];
  const folded = element("div", { className: "details" });
  const details = element("details", {}, element("summary", { textContent: "Details" }), folded);
  root.replaceChildren(
    element("style", { textContent: STYLE }),
    element(
      "section",
      { "aria-label": spec.name },
      element("div", { className: "presets", hidden: !presets.length }, element("span", { textContent: "Settings to try:" }), ...presets),
      element("div", { className: "controls" }, ...controls.map((control) => control.element)),
      error, title, figure, readout, details,
    ),
  );

  let [said, width] = [{}, 0];
  function draw() {
    width = Math.round(figure.clientWidth) || 800;
    if (said.error) return;
    const [parts, height] = explorer.draw(said, width);
    const attributes = { viewBox: `0 0 ${width} ${height}`, width, height, role: "img", "aria-labelledby": "title desc" };
    const names = [shape("title", { id: "title" }, said.title), shape("desc", { id: "desc" }, said.readout)];
    figure.replaceChildren(shape("svg", attributes, ...names, ...parts));
  }
  function set(next, own) {
    if (own && same(next, state)) return;
    state = next;
    controls.forEach((control, i) => control.set(state[spec.controls[i].name], optionsOf(spec.controls[i], state)));
    said = told(explorer, state, data);
    error.hidden = !said.error;
    error.textContent = said.error ?? "";
    figure.style.visibility = said.error ? "hidden" : "visible";
    title.textContent = said.title ?? "";
    readout.replaceChildren(...lines(said.readout));
    folded.replaceChildren(...lines(said.details), ...Object.entries(said.copy ?? {}).map(copyLine));
    if (link) folded.append(element("p", { className: "link" }, copyButton("copy a link to this state", link(state))));
    details.hidden = !folded.hasChildNodes();
    draw();
    if (own) changed(state);
  }
  set(state, false);
  new ResizeObserver(() => Math.round(figure.clientWidth) !== width && draw()).observe(figure);
  return (next) => same(next, state) || set(next, false);
}

const lines = (said) => (said ? said.split("\n").map((textContent) => element("p", { textContent })) : []);

function copyButton(textContent, copied) {
  const button = element("button", { type: "button", textContent });
  button.onclick = async () => {
    await navigator.clipboard.writeText(copied);
    button.textContent = "copied";
  };
  return button;
}

const copyLine = ([name, textContent]) =>
  element("p", {}, element("span", { textContent: `${name}: ` }), element("code", { textContent }), copyButton("copy", textContent));

// One maker for each kind of control: its element, and how to show a value among its options.
const makers = {
  slider(control, move) {
    let options = [];
    const input = element("input", { type: "range", min: 0, step: 1, "aria-label": control.label });
    const output = element("output");
    input.oninput = () => move(control.name, options[input.value][1]);
    function set(value, offers) {
      options = offers;
      input.max = options.length - 1;
      input.value = options.findIndex(([, option]) => same(option, value));
      output.textContent = options[input.value][0];
      input.setAttribute("aria-valuetext", output.textContent);
    }
    return { element: element("label", { className: "control slider" }, element("span", { textContent: control.label }), input, output), set };
  },
  buttons(control, move) {
    const made = control.options.map(([textContent, value]) => {
      const input = element("input", { type: "radio", name: control.name, onchange: () => move(control.name, value) });
      return { input, value, label: element("label", {}, input, element("span", { textContent })) };
    });
    const group = element("span", { className: "options", role: "radiogroup", "aria-label": control.label }, ...made.map((m) => m.label));
    function set(value) {
      for (const m of made) m.input.checked = same(m.value, value);
    }
    return { element: element("div", { className: "control" }, element("span", { textContent: control.label }), group), set };
  },
  check(control, move) {
    const input = element("input", { type: "checkbox", onchange: () => move(control.name, input.checked) });
    function set(value) {
      input.checked = value;
    }
    return { element: element("label", { className: "control" }, element("span", { textContent: control.label }), input), set };
  },
  boxes(control, move) {
    let made = [];
    const group = element("span", { className: "options", role: "group", "aria-label": control.label });
    const ticked = () => made.filter((m) => m.input.checked).map((m) => m.value);
    function set(value, offers) {
      if (!same(offers, made.map((m) => [m.name, m.value]))) {
        made = offers.map(([name, option]) => {
          const input = element("input", { type: "checkbox", onchange: () => move(control.name, ticked()) });
          return { name, value: option, input, label: element("label", {}, input, element("span", { textContent: name })) };
        });
        group.replaceChildren(...made.map((m) => m.label));
      }
      for (const m of made) m.input.checked = value.includes(m.value);
    }
    return { element: element("div", { className: "control" }, element("span", { textContent: control.label }), group), set };
  },
};

// The static version stands below the live one, hidden as long as the same notebook shows a live one.
const NOTEBOOK = ".jp-Notebook, #notebook-container"; // of JupyterLab, of the classic Notebook; in Colab an output is a page
const hidesStatic = (name) =>
  `:is(${NOTEBOOK}, body:not(:has(${NOTEBOOK}))):has([data-live="${name}"]) [data-name="${name}"] { display: none; }`;

/** The live version: anywidget's module, whose model holds `spec` and `state`. */
export function widget(explorer) {
  function render({ model, el }) {
    const spec = model.get("spec");
    const host = element("div", { className: "lorabook-explorer", "data-live": spec.name });
    el.append(element("style", { textContent: hidesStatic(spec.name) }), host);
    const set = mount(host, explorer, spec, spec.data, model.get("state"), (state) => {
      model.set("state", state);
      model.save_changes();
    });
    const follow = () => set(model.get("state"));
    model.on("change:state", follow);
    return () => model.off("change:state", follow);
  }
  return { render };
}

/** The static version: moves every explorer of that name which still shows its picture. */
export function start(explorer, spec) {
  let state = spec.state;
  try {
    const linked = JSON.parse(new URLSearchParams(location.hash.slice(1)).get(spec.name));
    if (linked && offered(spec, linked)) state = linked;
  } catch {} // a link to something else
  const link = (moved) => `${location.href.split("#")[0]}#${new URLSearchParams({ [spec.name]: JSON.stringify(moved) })}`;
  for (const host of document.querySelectorAll(`.lorabook-explorer[data-name="${spec.name}"]`)) {
    if (!host.shadowRoot) mount(host, explorer, spec, spec.data, state, () => {}, window.top === window && link);
  }
}
