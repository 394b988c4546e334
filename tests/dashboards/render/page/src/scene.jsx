// A dashboard of the classic schema as a scene: the part of Grafana's front end that reads the JSON, for what covered.json names.
import { DataTopic } from "@grafana/data";
import {
  CustomVariable,
  dataLayers,
  DataSourceVariable,
  EmbeddedScene,
  QueryVariable,
  SceneControlsSpacer,
  SceneDataLayerControls,
  SceneDataLayerSet,
  SceneDataTransformer,
  SceneGridItem,
  SceneGridLayout,
  SceneGridRow,
  SceneQueryRunner,
  SceneRefreshPicker,
  SceneTimePicker,
  SceneTimeRange,
  SceneVariableSet,
  VariableValueSelectors,
  VizPanel,
} from "@grafana/scenes";
import { DashboardLinks } from "./links.jsx";

function variable(json, choices) {
  const { name, label, hide, skipUrlSync } = json;
  const common = { name, label, hide, skipUrlSync };
  const chosen = choices.getAll(`var-${name}`);
  const current = chosen.length ? { value: json.multi ? chosen : chosen[0], text: json.multi ? chosen : chosen[0] } : json.current;
  const state = { ...common, value: current?.value ?? "", text: current?.text ?? "" };
  const several = { isMulti: json.multi, includeAll: json.includeAll, allValue: json.allValue };
  if (json.type === "datasource") return new DataSourceVariable({ ...common, value: "", text: "", pluginId: json.query });
  if (json.type === "custom") return new CustomVariable({ ...state, ...several, query: json.query });
  if (json.type === "query") {
    const { query, datasource, refresh, sort, regex = "" } = json;
    return new QueryVariable({ ...state, ...several, query, datasource, refresh, sort, regex });
  }
  throw new Error(`the net does not cover variables of type ${json.type}`);
}

function panel(json) {
  const { id, title, description, type, options, fieldConfig, targets = [], datasource, transformations = [], gridPos } = json;
  const queries = new SceneQueryRunner({
    datasource,
    queries: targets,
    maxDataPoints: json.maxDataPoints,
    minInterval: json.interval,
    dataLayerFilter: { panelId: id },
  });
  return new SceneGridItem({
    key: `grid-item-${id}`,
    x: gridPos.x,
    y: gridPos.y,
    width: gridPos.w,
    height: gridPos.h,
    body: new VizPanel({
      key: `panel-${id}`,
      title,
      description,
      pluginId: type,
      pluginVersion: "13.2.2",
      options: options ?? {},
      fieldConfig: fieldConfig ?? { defaults: {}, overrides: [] },
      displayMode: json.transparent ? "transparent" : "default",
      $data: new SceneDataTransformer({ $data: queries, transformations }),
    }),
  });
}

function rows(panels) {
  const children = [];
  let into = children;
  for (const json of panels) {
    if (json.type !== "row") {
      into.push(panel(json));
      continue;
    }
    const inside = (json.panels ?? []).map(panel);
    const row = new SceneGridRow({ key: `panel-${json.id}`, title: json.title, isCollapsed: json.collapsed, y: json.gridPos.y, children: inside });
    children.push(row);
    into = json.collapsed ? children : inside;
  }
  return children;
}

export function scene(json, choices, others) {
  const layers = (json.annotations?.list ?? [])
    .filter((annotation) => annotation.datasource?.uid !== "-- Grafana --")
    .map((query) => new dataLayers.AnnotationsDataLayer({ name: query.name, isEnabled: query.enable, isHidden: query.hide, query, topic: DataTopic.Annotations }));
  return new EmbeddedScene({
    $timeRange: new SceneTimeRange({
      from: choices.get("from") ?? json.time.from,
      to: choices.get("to") ?? json.time.to,
      timeZone: json.timezone,
    }),
    $variables: new SceneVariableSet({ variables: json.templating.list.map((each) => variable(each, choices)) }),
    $data: layers.length ? new SceneDataLayerSet({ layers }) : undefined,
    controls: [
      new VariableValueSelectors({}),
      ...(layers.length ? [new SceneDataLayerControls()] : []),
      new SceneControlsSpacer(),
      new DashboardLinks({ links: json.links ?? [], others }),
      new SceneTimePicker({}),
      new SceneRefreshPicker({ refresh: "" }),
    ],
    body: new SceneGridLayout({ isDraggable: false, isResizable: false, isLazy: false, children: rows(json.panels) }),
  });
}
