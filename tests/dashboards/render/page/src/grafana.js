// What a Grafana server's front end sets up before it shows a dashboard, as far as its published packages leave it to the host.
import {
  EventBusSrv,
  booleanOverrideProcessor,
  dataLinksOverrideProcessor,
  displayNameOverrideProcessor,
  identityOverrideProcessor,
  locationUtil,
  numberOverrideProcessor,
  standardFieldConfigEditorRegistry,
  standardTransformers,
  standardTransformersRegistry,
  stringOverrideProcessor,
  thresholdsOverrideProcessor,
  toDataFrame,
  unitOverrideProcessor,
  valueMappingsOverrideProcessor,
} from "@grafana/data";
import {
  config,
  locationService,
  setAppEvents,
  setDataSourceSrv,
  setLocationSrv,
  setPluginImportUtils,
  setRunRequest,
} from "@grafana/runtime";
import { sceneGraph } from "@grafana/scenes";
import { LoadingState } from "@grafana/schema";
import { catchError, from, map, of } from "rxjs";
import covered from "../covered.json";

// The standard options that a field may have; their list is in Grafana's core and in none of its packages.
const STANDARD = {
  displayName: displayNameOverrideProcessor,
  unit: unitOverrideProcessor,
  min: numberOverrideProcessor,
  max: numberOverrideProcessor,
  fieldMinMax: booleanOverrideProcessor,
  decimals: numberOverrideProcessor,
  noValue: stringOverrideProcessor,
  color: identityOverrideProcessor,
  description: stringOverrideProcessor,
  thresholds: thresholdsOverrideProcessor,
  mappings: valueMappingsOverrideProcessor,
  links: dataLinksOverrideProcessor,
  filterable: booleanOverrideProcessor,
};

// Without thresholds of its own a panel has these: what is not meant to be red from 80 on has to say so.
const DEFAULTS = { thresholds: { mode: "absolute", steps: [{ value: -Infinity, color: "green" }, { value: 80, color: "red" }] } };

function option([id, process]) {
  return {
    id,
    path: id,
    defaultValue: DEFAULTS[id],
    name: id,
    editor: () => null,
    override: () => null,
    process,
    getItemsCount: () => 0,
    shouldApply: () => true,
  };
}

function runRequest(datasource, request) {
  const answered = from(datasource.query(request));
  return answered.pipe(
    map(({ data, errors }) => ({
      state: errors ? LoadingState.Error : LoadingState.Done,
      series: data.map(toDataFrame),
      annotations: [],
      errors,
      request,
      timeRange: request.range,
    })),
    catchError((error) =>
      of({ state: LoadingState.Error, series: [], errors: [{ message: String(error) }], request, timeRange: request.range })
    )
  );
}

export function setUp(datasource, plugins, theme) {
  config.theme2 = theme;
  const settings = { uid: datasource.uid, name: datasource.name, type: datasource.type, meta: datasource.meta };
  setAppEvents(new EventBusSrv());
  setRunRequest(runRequest);
  setLocationSrv({ update: () => undefined });
  setPluginImportUtils({
    importPanelPlugin: async (id) => {
      if (!plugins[id]) throw new Error(`the net does not cover panels of type ${id}`);
      return plugins[id];
    },
    getPanelPluginFromCache: (id) => plugins[id],
  });
  setDataSourceSrv({
    get: async (ref, scopedVars) => {
      const scene = scopedVars?.__sceneObject?.value?.valueOf();
      const uid = sceneGraph.interpolate(scene, typeof ref === "string" ? ref : ref?.uid, scopedVars);
      if (uid === datasource.uid) return datasource;
      throw new Error(`a query has the data source ${JSON.stringify(ref)}, which does not exist`);
    },
    getList: ({ pluginId }) => (pluginId === datasource.type ? [settings] : []),
    getInstanceSettings: () => settings,
    reload: () => undefined,
  });
  locationUtil.initialize({ config, getTimeRangeForUrl: () => ({}), getVariablesUrlParams: () => ({}) });
  locationService.getHistory();
  standardFieldConfigEditorRegistry.setInit(() => Object.entries(STANDARD).map(option));
  standardTransformersRegistry.setInit(() =>
    Object.values(standardTransformers).filter(({ id }) => covered.transformations.includes(id)).map((transformation) => ({
      id: transformation.id,
      name: transformation.name,
      transformation: async () => transformation,
      editor: () => null,
    }))
  );
}
