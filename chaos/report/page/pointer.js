// What the run was like at one moment: the lines beside the pointer.

function tipLines(report, atS) {
  const { series } = report;
  const perSecond = (value) => `${number(value)} /s`;
  const at = Math.min(Math.floor(atS / series.bucket_s), series.produced_per_s.length - 1);
  const refused = series.not_acknowledged_per_s[at];
  const during = (span) => span.from_s <= atS && atS <= span.to_s;
  const line = (name, value) => element('div', {}, element('span', {}, name), value);
  const pair = (low, high) => `${milliseconds(low[at])} · ${milliseconds(high[at])}`;
  const lines = [
    element('b', {}, moment(atS, 2)),
    line('acknowledged', perSecond(series.produced_per_s[at])),
    refused ? line('not acknowledged', perSecond(refused)) : null,
    line('read', perSecond(series.read_per_s[at])),
    line('produce', pair(series.produce_p50_ms, series.produce_p99_ms)),
    line('poll', pair(series.read_p50_ms, series.read_p99_ms)),
  ];
  for (const { group, bands } of report.leaders.slice(0, 8)) {
    const band = bands.findLast(during);
    lines.push(line(group, band ? `${band.node}, term ${band.term}` : 'none seen'));
  }
  for (const fault of report.faults.filter(during).slice(0, 6)) {
    lines.push(element('div', { class: 'in-force' }, `${faultName(fault)} (${fault.nodes.join(', ')})`));
  }
  return lines.filter(Boolean);
}
