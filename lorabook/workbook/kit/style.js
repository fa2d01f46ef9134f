// The look of every explorer, in the theme of the page it stands in: JupyterLab's, VS Code's, or the reader's own.

export const STYLE = `
:host { --page: #fff; --text: #1a1a1a; display: block; color-scheme: light dark; }
@media (prefers-color-scheme: dark) { :host { --page: #181a1b; --text: #e8e6e3; } }
section {
  --paper: var(--jp-layout-color0, var(--vscode-editor-background, var(--page)));
  --ink: var(--jp-content-font-color1, var(--vscode-foreground, var(--text)));
  --muted: color-mix(in srgb, var(--ink) 72%, var(--paper));
  --rule: color-mix(in srgb, var(--ink) 22%, var(--paper));
  --track: color-mix(in srgb, var(--ink) 14%, var(--paper));
  --accent: #0072B2;
  max-width: 860px; padding: 10px 12px; background: var(--paper); color: var(--ink);
  font: 14px/1.5 var(--jp-content-font-family, var(--vscode-font-family, system-ui, sans-serif));
}
p { margin: 2px 0; }
.title { font-size: 16px; font-weight: 600; margin: 10px 0 4px; line-height: 1.3; }
.error { border-left: 4px solid #D55E00; padding: 4px 10px; }
.error[hidden] { display: none; }
.figure svg { display: block; font-size: 13px; }
.presets, .options { display: flex; flex-wrap: wrap; gap: 4px; align-items: center; }
.presets[hidden] { display: none; }
.presets { margin-bottom: 8px; }
button {
  font: inherit; font-size: 13px; color: var(--ink); background: var(--paper); cursor: pointer;
  border: 1px solid var(--rule); border-radius: 4px; padding: 1px 8px;
}
button:hover { border-color: var(--ink); }
.controls { display: grid; gap: 4px 24px; grid-template-columns: repeat(auto-fit, minmax(min(100%, 360px), 1fr)); align-items: center; }
.control { display: grid; grid-template-columns: 136px 1fr; gap: 8px; align-items: center; }
.slider { grid-template-columns: 136px 1fr minmax(48px, max-content); }
.control > span:first-child { text-align: right; color: var(--muted); }
.control:has(.options) { grid-column: 1 / -1; }
output { font-variant-numeric: tabular-nums; font-weight: 600; }
input { accent-color: var(--accent); margin: 0; min-width: 0; }
input[type=checkbox] { justify-self: start; width: 16px; height: 16px; }
.options label { display: inline-flex; gap: 4px; align-items: center; padding: 1px 8px; border: 1px solid var(--rule); border-radius: 4px; }
.options label:has(:checked) { border-color: var(--accent); box-shadow: inset 0 0 0 1px var(--accent); }
.options input[type=radio] { width: 13px; height: 13px; }
:focus-visible, .options label:has(:focus-visible) { outline: 2px solid var(--accent); outline-offset: 2px; }
.readout { margin-top: 8px; }
details { margin-top: 6px; }
summary { cursor: pointer; color: var(--muted); }
details[hidden] { display: none; }
code { font-family: var(--jp-code-font-family, ui-monospace, monospace); font-size: 12px; overflow-wrap: anywhere; margin-right: 8px; }
@media (max-width: 480px) { .control { grid-template-columns: 96px 1fr; } .slider { grid-template-columns: 96px 1fr minmax(48px, max-content); } }
@media print { .presets, .controls, button { display: none; } }
`;
