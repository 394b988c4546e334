// A panel type for scenes: a component of ours over Grafana's own drawing, with the custom field options that overrides may set.
import { PanelPlugin, PluginType, identityOverrideProcessor } from "@grafana/data";

export function plugin(id, component, custom, colour) {
  const made = new PanelPlugin(component);
  made.meta = {
    id,
    name: id,
    type: PluginType.panel,
    module: id,
    baseUrl: "",
    sort: 1,
    info: { author: { name: "" }, description: "", links: [], logos: { large: "", small: "" }, screenshots: [], updated: "", version: "13.2.2" },
  };
  made.setDataSupport({ annotations: true, alertStates: false });
  made.useFieldConfig({
    standardOptions: { color: { defaultValue: { mode: colour } } },
    useCustomConfig: (builder) => {
      for (const [path, defaultValue] of Object.entries(custom)) {
        builder.addCustomEditor({
          id: path,
          path,
          name: path,
          defaultValue,
          editor: () => null,
          override: () => null,
          process: identityOverrideProcessor,
          shouldApply: () => true,
        });
      }
    },
  });
  return made;
}

export function Empty({ fieldConfig }) {
  return <div className="empty">{fieldConfig.defaults.noValue || "No data"}</div>;
}
