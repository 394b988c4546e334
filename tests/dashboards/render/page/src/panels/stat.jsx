// Single figures: Grafana's BigValue, repeated for each value.
import { FieldType, getDisplayValueAlignmentFactors, getFieldDisplayValues } from "@grafana/data";
import { BigValue, BigValueGraphMode, DataLinksContextMenu, VizRepeater, useTheme2 } from "@grafana/ui";
import { plugin } from "./plugin.jsx";

function Panel({ data, width, height, options, fieldConfig, replaceVariables, timeZone, renderCounter }) {
  const theme = useTheme2();
  const values = () =>
    getFieldDisplayValues({
      fieldConfig,
      reduceOptions: options.reduceOptions,
      replaceVariables,
      theme,
      data: data.series,
      sparkline: options.graphMode !== BigValueGraphMode.None && data.series.some(({ fields }) => fields.some(({ type }) => type === FieldType.time)),
      timeZone,
      percentChange: options.showPercentChange,
    });
  const one = ({ value, width, height, count, alignmentFactors }) => {
    const drawn = (link) => (
      <BigValue
        value={value.display}
        count={count}
        sparkline={value.sparkline}
        colorMode={options.colorMode}
        graphMode={options.graphMode}
        justifyMode={options.justifyMode}
        textMode={options.textMode}
        alignmentFactors={alignmentFactors}
        text={options.text}
        width={width}
        height={height}
        theme={theme}
        wideLayout={options.wideLayout}
        disableWideLayout={!options.wideLayout}
        onClick={link?.openMenu}
        hasLinks={Boolean(link)}
      />
    );
    return value.hasLinks && value.getLinks ? <DataLinksContextMenu links={value.getLinks}>{drawn}</DataLinksContextMenu> : drawn();
  };
  return (
    <VizRepeater
      getValues={values}
      getAlignmentFactors={getDisplayValueAlignmentFactors}
      renderValue={one}
      width={width}
      height={height}
      source={data}
      itemSpacing={3}
      renderCounter={renderCounter}
      autoGrid={true}
      orientation={options.orientation ?? "auto"}
    />
  );
}

export const stat = plugin("stat", Panel, {}, "thresholds");
