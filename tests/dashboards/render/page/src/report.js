// What the page shows, as facts for a test: of each panel its state, series, rows, links, texts, and what of it is cut off.
import { FieldType } from "@grafana/data";
import { LoadingState } from "@grafana/schema";
import { VizPanel, sceneGraph } from "@grafana/scenes";
import { DashboardLinks } from "./links.jsx";
import { eventsOf, isDrawable } from "./panels/timeseries.jsx";

const frameOf = () => new Promise((then) => requestAnimationFrame(() => requestAnimationFrame(then)));
const pause = (ms) => new Promise((then) => setTimeout(then, ms));
const LONGEST_MS = 90_000;

function panelsOf(model) {
  return sceneGraph.findAllObjects(model, (each) => each instanceof VizPanel);
}

function elementOf(panel) {
  return document.querySelector(`[data-viz-panel-key="${panel.state.key}"]`);
}

function isLoaded(panel) {
  const { data } = sceneGraph.getData(panel).state;
  return elementOf(panel) && data && [LoadingState.Done, LoadingState.Error].includes(data.state);
}

export async function settled(model, json) {
  const end = performance.now() + LONGEST_MS;
  let before = "";
  for (;;) {
    await frameOf();
    await pause(150);
    const late = performance.now() > end;
    if (!late && !panelsOf(model).every(isLoaded)) continue;
    await document.fonts.ready;
    const report = { width: innerWidth, height: document.documentElement.scrollHeight, late, ...head(model), panels: panelsOf(model).map((each) => panel(each, json)) };
    const now = JSON.stringify(report);
    if (late || now === before) return report;
    before = now;
  }
}

function head(model) {
  const variables = sceneGraph.getVariables(model).state.variables;
  const bars = sceneGraph.findAllObjects(model, (each) => each instanceof DashboardLinks);
  return {
    variables: Object.fromEntries(
      variables.map((each) => [
        each.state.name,
        { options: each.state.options?.map(({ label }) => label) ?? [], text: each.state.text, value: each.state.value, error: each.state.error ? String(each.state.error) : "" },
      ])
    ),
    links: bars.flatMap((bar) => bar.state.links.flatMap((link) => bar.resolved(link))),
    until: sceneGraph.getTimeRange(model).state.value.to.valueOf() / 1000,
    wider: document.documentElement.scrollWidth - innerWidth,
  };
}

function panel(model, json) {
  const { data = { series: [], state: "NotStarted" } } = sceneGraph.getData(model).state;
  const shown = model.applyFieldConfig(data);
  const element = elementOf(model);
  const box = element?.getBoundingClientRect();
  const source = json.panels.flatMap((each) => [each, ...(each.panels ?? [])]).find(({ id }) => id === model.getLegacyPanelId());
  const noValue = source.fieldConfig.defaults.noValue ?? "";
  const numbers = shown.series.flatMap((frame) => frame.fields.filter((field) => field.type === FieldType.number && field.values.length));
  return {
    id: source.id,
    title: source.title,
    type: source.type,
    state: data.state,
    errors: [...(data.errors ?? []).map(({ message }) => message), ...(model.state._pluginLoadError ? [model.state._pluginLoadError] : [])],
    series: source.type === "timeseries" ? shown.series.filter(isDrawable).length : numbers.length,
    rows: Math.max(0, ...shown.series.map((frame) => frame.length)),
    finite: numbers.every((field) => field.values.every((value) => value == null || Number.isFinite(value))),
    columns: source.type === "table" ? headers(element) : [],
    outOfSight: headersOf(element).filter((each) => each.getBoundingClientRect().right > box.right + 1).map(textOf),
    annotations: (shown.annotations ?? []).reduce((sum, frame) => sum + eventsOf(frame).length, 0),
    links: shown.series.flatMap((frame) => frame.fields.slice(-1).flatMap((field) => field.getLinks?.({ valueRowIndex: 0 }) ?? [])).map(({ title, href }) => ({ title, href })),
    text: element?.innerText ?? "",
    saysNoValue: isWholly(noValue, element, box),
    drawn: Boolean(element?.querySelector("canvas, svg.states, [role=grid]")) || (element?.innerText ?? "").trim().length > source.title.length,
    box: box && { x: box.x, y: box.y + scrollY, width: box.width, height: box.height },
    cut: element ? cutOff(element) : [],
  };
}

function headersOf(element) {
  return [...(element?.querySelectorAll("[role=columnheader]") ?? [])];
}

function headers(element) {
  return headersOf(element).map(textOf);
}

// Not innerText: what is far outside of the window is laid out and has none.
const textOf = (element) => element.textContent.trim();

// Texts for the eye: what a screen reader alone gets is 1 px large.
function leaves(element) {
  const walker = document.createTreeWalker(element, NodeFilter.SHOW_TEXT);
  const found = [];
  while (walker.nextNode()) if (walker.currentNode.textContent.trim() && walker.currentNode.parentElement.clientWidth !== 1) found.push(walker.currentNode);
  return found;
}

function extent(node) {
  const range = document.createRange();
  range.selectNodeContents(node);
  return range.getBoundingClientRect();
}

// A text that its own element, or one around it that hides what overflows, does not show in full.
function cutOff(element) {
  return leaves(element)
    .filter((node) => {
      const text = extent(node);
      for (let around = node.parentElement; around && around !== element.parentElement; around = around.parentElement) {
        const style = getComputedStyle(around);
        if (style.overflowX === "visible" && style.overflowY === "visible") continue;
        if (style.overflowX === "auto" || style.overflowX === "scroll" || style.overflowY === "auto" || style.overflowY === "scroll") return false;
        const box = around.getBoundingClientRect();
        if (text.right > box.right + 1 || text.bottom > box.bottom + 3 || text.left < box.left - 1) return true;
      }
      return false;
    })
    .map((node) => ({ text: node.textContent.trim(), within: roleOf(node.parentElement) }));
}

function roleOf(element) {
  if (element.closest("[data-testid$=header-container]")) return "title";
  if (element.closest("[role=columnheader]")) return "column";
  if (element.closest("[role=gridcell]")) return "cell";
  if (element.closest("svg.states")) return "state";
  return element.closest("table") ? "legend" : "other";
}

function isWholly(text, element, box) {
  if (!text || !element) return false;
  const node = leaves(element).find((each) => each.textContent.trim() === text);
  if (!node) return false;
  const at = extent(node);
  return at.width > 0 && at.left >= box.left - 1 && at.right <= box.right + 1 && at.top >= box.top && at.bottom <= box.bottom + 1;
}
