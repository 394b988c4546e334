// The live view of a training run in a notebook. Drawn from plain numbers that Python sends; text goes in as text, never as HTML.
const SVG = "http://www.w3.org/2000/svg";
const ROWS = [
  ["power", "Power", "W"],
  ["energy", "Energy so far", "J"],
  ["per_token", "Per token", "J"],
  ["per_step", "Per step", "J"],
  ["loss", "Loss", ""],
];

function element(parent, name, className, text) {
  const made = parent.appendChild(document.createElement(name));
  made.className = className;
  if (text !== undefined) made.textContent = text;
  return made;
}

function line(values, width, height) {
  const known = values.filter((v) => v !== null);
  if (known.length < 2) return "";
  const low = Math.min(...known), span = Math.max(...known) - low || 1;
  let path = "", pen = "M";
  values.forEach((value, i) => {
    if (value === null) { pen = "M"; return; }
    const x = (i / (values.length - 1)) * width, y = height - 2 - ((value - low) / span) * (height - 4);
    path += `${pen}${x.toFixed(1)},${y.toFixed(1)}`;
    pen = "L";
  });
  return path;
}

function render({ model, el }) {
  el.classList.add("wattlens");
  const head = element(el, "div", "wattlens-head");
  const table = element(el, "table", "wattlens-rows");
  const cells = {};
  for (const [key, label, unit] of ROWS) {
    const row = element(table, "tr", "");
    element(row, "th", "", label).scope = "row";
    cells[key] = element(row, "td", "wattlens-number", "-");
    element(row, "td", "wattlens-unit", unit);
    const picture = element(row, "td", "wattlens-picture");
    if (key === "power" || key === "loss") {
      const svg = picture.appendChild(document.createElementNS(SVG, "svg"));
      svg.setAttribute("viewBox", "0 0 160 24");
      svg.setAttribute("aria-hidden", "true");
      cells[`${key}_line`] = svg.appendChild(document.createElementNS(SVG, "path"));
    }
  }
  const foot = element(el, "div", "wattlens-foot");
  el.setAttribute("role", "group");

  const show = () => {
    const values = model.get("shown_values"), history = model.get("history");
    head.textContent = values.title || "";
    for (const [key] of ROWS) cells[key].textContent = values[key] || "-";
    for (const key of ["power", "loss"]) cells[`${key}_line`].setAttribute("d", line(history[key] || [], 160, 24));
    foot.textContent = values.note || "";
    el.setAttribute("aria-label", model.get("text"));
  };
  model.on("change:shown_values", show);
  show();
  return () => model.off("change:shown_values", show);
}

export default { render };
