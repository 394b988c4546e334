// Time series: Grafana's uPlot graph with legend; annotations are drawn over it, as regions or lines with a mark on the time axis.
import { FieldType } from "@grafana/data";
import { EventsCanvas, TimeSeries, TooltipPlugin, useTheme2 } from "@grafana/ui";
import { useLayoutEffect, useMemo } from "react";
import { Empty, plugin } from "./plugin.jsx";

const CUSTOM = {
  drawStyle: "line",
  lineInterpolation: "linear",
  lineWidth: 1,
  lineStyle: { fill: "solid" },
  fillOpacity: 0,
  gradientMode: "none",
  spanNulls: false,
  insertNulls: false,
  showPoints: "auto",
  pointSize: 5,
  stacking: { mode: "none", group: "A" },
  axisPlacement: "auto",
  axisLabel: "",
  axisColorMode: "text",
  axisBorderShow: false,
  axisCenteredZero: false,
  axisSoftMin: undefined,
  axisSoftMax: undefined,
  axisGridShow: true,
  axisWidth: undefined,
  scaleDistribution: { type: "linear" },
  thresholdsStyle: { mode: "off" },
  hideFrom: { legend: false, tooltip: false, viz: false },
  transform: undefined,
  fillBelowTo: undefined,
  barAlignment: 0,
  barWidthFactor: 0.6,
  barMaxWidth: undefined,
};

export function isDrawable(frame) {
  return frame.fields[0]?.type === FieldType.time && frame.fields.some((field) => field.type === FieldType.number && field.values.length);
}

function Annotations({ config, frames, theme }) {
  useLayoutEffect(() => {
    config.addHook("draw", (u) => {
      const { left, top, width, height } = u.bbox;
      u.ctx.save();
      u.ctx.beginPath();
      u.ctx.rect(left, top, width, height);
      u.ctx.clip();
      for (const event of frames.flatMap(eventsOf)) {
        const x = u.valToPos(event.time, "x", true);
        u.ctx.strokeStyle = u.ctx.fillStyle = theme.visualization.getColorByName(event.color);
        u.ctx.lineWidth = 2 * devicePixelRatio;
        u.ctx.setLineDash([5, 5]);
        u.ctx.beginPath();
        u.ctx.moveTo(x, top);
        u.ctx.lineTo(x, top + height);
        u.ctx.stroke();
        if (event.isRegion) {
          u.ctx.globalAlpha = 0.1;
          u.ctx.fillRect(x, top, u.valToPos(event.timeEnd, "x", true) - x, height);
          u.ctx.globalAlpha = 1;
        }
      }
      u.ctx.restore();
    });
  }, [config, frames, theme]);
  const mark = (frame, i) => <div className="annotation" style={{ borderBottomColor: theme.visualization.getColorByName(eventsOf(frame)[i].color) }} />;
  const at = (u) => (frame, i) => {
    const { time } = eventsOf(frame)[i];
    return time < u.scales.x.min || time > u.scales.x.max ? undefined : { x: u.valToPos(time, "x"), y: u.rect.height };
  };
  return <Marks id="annotations" config={config} events={frames} mark={mark} at={at} />;
}

function Marks({ id, config, events, mark, at }) {
  const held = useMemo(() => ({ u: undefined }), [config]);
  useLayoutEffect(() => {
    config.addHook("init", (u) => (held.u = u));
  }, [config, held]);
  return <EventsCanvas id={id} config={config} events={events} renderEventMarker={mark} mapEventToXYCoords={(frame, i) => held.u && at(held.u)(frame, i)} />;
}

export function eventsOf(frame) {
  const column = (name) => frame.fields.find((field) => field.name === name)?.values ?? [];
  const [time, timeEnd, isRegion, color] = ["time", "timeEnd", "isRegion", "color"].map(column);
  return Array.from({ length: frame.length }, (_, i) => ({ time: time[i], timeEnd: timeEnd[i], isRegion: isRegion[i], color: color[i] ?? "purple" }));
}

function Panel({ data, timeRange, timeZone, width, height, options, fieldConfig }) {
  const theme = useTheme2();
  const frames = useMemo(() => data.series.filter(isDrawable), [data.series]);
  const annotations = useMemo(() => (data.annotations ?? []).filter((frame) => frame.length), [data.annotations]);
  if (!frames.length) return <Empty fieldConfig={fieldConfig} />;
  return (
    <TimeSeries
      key={annotations.length}
      frames={frames}
      structureRev={data.structureRev}
      timeRange={timeRange}
      timeZone={timeZone}
      width={width}
      height={height}
      legend={options.legend}
      options={options}
    >
      {(config, aligned) => (
        <>
          {annotations.length > 0 && <Annotations config={config} frames={annotations} theme={theme} />}
          {options.tooltip?.mode !== "none" && (
            <TooltipPlugin frames={frames} data={aligned} config={config} mode={options.tooltip?.mode} sortOrder={options.tooltip?.sort} timeZone={timeZone} />
          )}
        </>
      )}
    </TimeSeries>
  );
}

export const timeseries = plugin("timeseries", Panel, CUSTOM, "palette-classic");
