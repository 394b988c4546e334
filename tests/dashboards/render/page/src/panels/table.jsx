// Tables: Grafana's own, with column widths from its own arithmetic, cells from the field options.
import { cacheFieldDisplayNames } from "@grafana/data";
import { TableNG } from "@grafana/ui/unstable";
import { Empty, plugin } from "./plugin.jsx";

const CUSTOM = {
  align: "auto",
  width: undefined,
  minWidth: undefined,
  hidden: false,
  hideFrom: { viz: false },
  filterable: false,
  inspect: false,
  cellOptions: { type: "auto" },
  wrapText: false,
  wrapHeaderText: false,
  footer: { reducers: [] },
};

function Panel({ data, timeRange, width, height, options, fieldConfig }) {
  cacheFieldDisplayNames(data.series);
  const [frame] = data.series;
  if (!frame?.fields.length) return <Empty fieldConfig={fieldConfig} />;
  return (
    <TableNG
      data={frame}
      width={width}
      height={height}
      noHeader={!(options.showHeader ?? true)}
      showTypeIcons={options.showTypeIcons}
      resizable={true}
      sortBy={options.sortBy}
      enablePagination={options.enablePagination}
      cellHeight={options.cellHeight}
      maxRowHeight={options.maxRowHeight}
      noValue={fieldConfig.defaults.noValue}
      timeRange={timeRange}
      structureRev={data.structureRev}
      fieldConfig={fieldConfig}
      enableVirtualization={false}
      getActions={() => []}
    />
  );
}

export const table = plugin("table", Panel, CUSTOM, "thresholds");
