// States over time: one bar a series, a text in it for each state. Grafana draws this in its core, which is not published; this
// follows its documented options (merge equal neighbours, height of rows, values shown always, never or where they fit).
import { FieldType, formattedValueToString, getFieldDisplayName, dateTimeFormat } from "@grafana/data";
import { VizLegend, measureText, useTheme2 } from "@grafana/ui";
import { Empty, plugin } from "./plugin.jsx";

const AXIS = 20;
const LEGEND = 24;
const CUSTOM = { lineWidth: 0, fillOpacity: 70, spanNulls: false, insertNulls: false, hideFrom: { legend: false, tooltip: false, viz: false }, axisPlacement: "auto" };

function stretches(field, times, stepMs) {
  const found = [];
  for (let i = 0; i < times.length; i++) {
    const value = field.values[i];
    const last = found.at(-1);
    const end = times[i] + stepMs;
    if (value == null) continue;
    const { text, color } = field.display(value);
    if (last && last.text === text && times[i] - last.end <= stepMs / 2) last.end = end;
    else found.push({ start: times[i], end, text: formattedValueToString(field.display(value)) || text, color });
  }
  return found;
}

function Panel({ data, timeRange, timeZone, width, height, options, fieldConfig }) {
  const theme = useTheme2();
  const lines = data.series.flatMap((frame) =>
    frame.fields
      .filter((field) => field.type === FieldType.number && field.values.length)
      .map((field) => ({
        name: getFieldDisplayName(field, frame, data.series),
        opacity: (field.config.custom?.fillOpacity ?? 70) / 100,
        bars: stretches(field, frame.fields[0].values, frame.fields[0].config.interval ?? 0),
      }))
  );
  if (!lines.length) return <Empty fieldConfig={fieldConfig} />;
  const shown = new Map(lines.flatMap(({ bars }) => bars.map(({ text, color }) => [text, color])));
  const bottom = options.legend?.showLegend ? LEGEND : 0;
  const left = Math.min(width * 0.4, Math.max(...lines.map(({ name }) => measureText(name, 12).width))) + 10;
  const line = (height - AXIS - bottom) / lines.length;
  const bar = line * (options.rowHeight ?? 0.9);
  const [from, to] = [timeRange.from.valueOf(), timeRange.to.valueOf()];
  const x = (at) => left + ((Math.min(Math.max(at, from), to) - from) / (to - from)) * (width - left);
  const count = Math.max(2, Math.floor((width - left) / 100));
  const ticks = Array.from({ length: count }, (_, i) => from + ((i + 0.5) * (to - from)) / count);
  const clock = to - from < 600_000 ? "HH:mm:ss" : "HH:mm";
  return (
    <>
      <svg width={width} height={height - bottom} className="states" style={{ fontSize: 12 }}>
        {lines.map(({ name, bars, opacity }, i) => (
          <g key={name} data-line={name}>
            <svg width={left - 6} height={height} overflow="hidden">
              <text x={left - 6} y={i * line + line / 2} textAnchor="end" dominantBaseline="middle" fill={theme.colors.text.primary}>{name}</text>
            </svg>
            {bars.map(({ start, end, text, color }) => {
              const [a, b] = [x(start), x(end)];
              const fits = options.showValue === "always" || (options.showValue !== "never" && measureText(text, 12).width + 4 < b - a);
              return (
                <svg key={start} x={a} y={i * line + (line - bar) / 2} width={Math.max(b - a, 0)} height={bar} overflow="hidden">
                  <rect width="100%" height="100%" fill={theme.visualization.getColorByName(color)} fillOpacity={opacity} />
                  {fits && bar > 10 && <text x="50%" y="50%" textAnchor="middle" dominantBaseline="middle" fill={theme.colors.text.primary}>{text}</text>}
                </svg>
              );
            })}
          </g>
        ))}
        {ticks.map((at) => (
          <text key={at} x={x(at)} y={height - bottom - 6} textAnchor="middle" fill={theme.colors.text.primary}>
            {dateTimeFormat(at, { format: clock, timeZone })}
          </text>
        ))}
      </svg>
      {bottom > 0 && (
        <VizLegend displayMode="list" placement="bottom" items={[...shown].map(([label, color]) => ({ label, color: theme.visualization.getColorByName(color), yAxis: 1 }))} />
      )}
    </>
  );
}

export const stateTimeline = plugin("state-timeline", Panel, CUSTOM, "continuous-GrYlRd");
