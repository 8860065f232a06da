// Everything but the timeline.

function verdictSection(report) {
  const { figures, machine } = report;
  const clean = report.verdict === 'clean';
  const facts = [
    counted(report.nodes.length, 'node'), duration(report.duration_s), `seed ${document.body.dataset.seed}`,
    report.began.replace('T', ' ').replace('+00:00', ' UTC'), counted(machine.cores, 'core'),
    `Python ${machine.python}`, `${machine.system} ${machine.kernel} ${machine.architecture}`,
  ];
  const lost = element('strong', { class: figures.records_lost ? 'some' : 'none' },
    `${number(figures.records_lost)} lost`);
  const wrong = Object.values(report.violation_counts).reduce((sum, count) => sum + count, 0);
  const reasons = [
    wrong ? counted(wrong, 'violation') : null,
    ...Object.entries(report.deaths).map(([node, code]) =>
      `${node} ended by itself, or not in order (exit code ${code})`),
    ...Object.entries(report.unready).map(([node, lacks]) => `${node} did not get ready again: ${lacks}`),
  ].filter(Boolean);
  return element('header', { class: clean ? 'clean' : 'violated' },
    element('p', { class: 'verdict' }, clean ? '✓ Clean' : '✗ Violated'),
    element('h1', {}, report.scenario),
    report.description ? element('p', { class: 'description' }, report.description) : null,
    element('p', { class: 'headline' }, lost, ` of ${number(figures.records_acknowledged)} acknowledged`),
    reasons.length ? element('ul', { class: 'reasons' }, reasons.map((text) => element('li', {}, text))) : null,
    element('p', { class: 'facts' }, facts.join(' · ')));
}

function figuresSection(report) {
  const { figures } = report;
  const gap = figures.longest_gap;
  const [slowest] = [...figures.recoveries].sort((one, other) => other.seconds - one.seconds);
  const card = (name, value, detail) => element('div', { class: 'card' },
    element('dt', {}, name), element('dd', {}, value), element('dd', { class: 'detail' }, detail));
  const latency = ({ p50_ms: p50, p99_ms: p99, max_ms: max, count }, ...what) => [
    count ? `${milliseconds(p50)} · ${milliseconds(p99)}` : '–', `longest ${milliseconds(max)}, of ${counted(count, ...what)}`];
  return element('dl', { class: 'cards', 'aria-label': 'Figures' },
    card('Longest gap in writes', gap ? duration(gap.seconds) : '–',
      gap ? `${place(gap.topic, gap.partition)}, from ${moment(gap.from_s, 1)}` : 'nothing was written'),
    card('From heal to first commit', slowest ? duration(slowest.seconds) : '–',
      slowest ? `slowest of ${counted(figures.recoveries.length, 'recovery', 'recoveries')}: `
        + place(slowest.topic, slowest.partition) : 'nothing was stored after healing'),
    card('Produce latency p50 · p99', ...latency(figures.produce, 'stored produce')),
    card('Read latency p50 · p99', ...latency(figures.read, 'poll with records', 'polls with records')),
    card('Records sent', number(figures.records_sent), `${number(figures.records_unknown)} of unknown outcome, `
      + `${number(figures.records_failed)} certainly not stored`),
    card('Records read', number(figures.records_read),
      `${counted(figures.reads, 'poll')}, ${number(figures.reads_failed)} failed`),
    card('Faults', number(report.faults.length + report.faults_left_out),
      `on ${counted(report.nodes.length, 'node')}, healed at ${moment(report.healed_s, 1)}`),
    card('Compared in the end', counted(figures.replicas_checked, 'replica'),
      `${counted(figures.metadata_operations, 'metadata operation')}, `
        + counted(figures.conditional_operations, 'conditional append')));
}

function table(head, rows) {
  return element('div', { class: 'wide' }, element('table', {},
    element('thead', {}, element('tr', {}, head.map((text) => element('th', { scope: 'col' }, text)))),
    element('tbody', {}, rows.map((cells) => element('tr', {}, cells.map((cell) => element('td', {}, cell)))))));
}

function section(title, ...children) {
  return element('section', {}, element('h2', {}, title), ...children);
}

function jump(timeline, fromS, toS, text) {
  return element('button', { type: 'button', class: 'jump', title: 'Show in the timeline',
    click: () => timeline.reveal(fromS, toS) }, text);
}

function violationsSection(report, timeline) {
  const kinds = Object.entries(report.violation_counts);
  if (!kinds.length) return section('Violations', element('p', {}, 'None.'));
  return section('Violations', kinds.map(([kind, count]) => {
    const shown = report.violations.filter((violation) => violation.kind === kind);
    return element('div', { class: 'kind' },
      element('h3', {}, kind.replaceAll('_', ' '), element('span', { class: 'count' },
        shown.length < count ? `${number(count)} found, the first ${shown.length} shown` : number(count))),
      shown.map((violation, at) => violationDetails(violation, timeline, at === 0)));
  }));
}

function violationDetails(violation, timeline, open) {
  const where = place(violation.topic, violation.partition);
  const facts = violation.evidence.map((fact) => [
    fact.at_s === null ? '' : jump(timeline, fact.at_s, fact.at_s, moment(fact.at_s, 3)),
    fact.what, fact.record, fact.offset ?? '', fact.node, fact.process, fact.op ?? '']);
  return element('details', { open: open ? '' : null },
    element('summary', {}, where ? element('code', {}, where) : null, where ? ' ' : '', violation.summary),
    facts.length ? table(['time', 'what', 'record', 'offset', 'node', 'client', 'operation'], facts) : null,
    violation.evidence_left_out ? element('p', {}, `and ${number(violation.evidence_left_out)} more`) : null,
    violation.log.length ? element('div', {}, element('h4', {}, 'What the nodes said around that time'),
      element('div', { class: 'log' }, violation.log.map((line) => logLine(line, timeline.report)))) : null);
}

function logLine(line, report) {
  const node = element('span', { class: 'node' }, line.node);
  node.style.background = nodeColour(report, line.node);
  node.style.color = nodeInk(report, line.node);
  return element('div', { class: ['warning', 'error', 'critical'].includes(line.level) ? line.level : null },
    element('span', { class: 'at' }, moment(line.at_s, 3)), node, element('span', { class: 'text' }, line.text));
}

function faultsSection(report, timeline) {
  if (!report.faults.length) return section('Faults', element('p', {}, 'None.'));
  const rows = report.faults.map((fault) => {
    const gap = fault.longest_gap;
    return [jump(timeline, fault.from_s, fault.to_s, moment(fault.from_s, 1)), fault.kind, fault.aim,
      fault.nodes.join(', '), duration(fault.to_s - fault.from_s),
      gap ? `${duration(gap.seconds)} in ${place(gap.topic, gap.partition)}` : '–'];
  });
  return section('Faults', table(['when', 'kind', 'aim', 'nodes', 'how long', 'longest gap in writes'], rows),
    report.faults_left_out ? element('p', {}, `${counted(report.faults_left_out, 'later fault')} left out.`) : null);
}

function recoveriesSection(report) {
  const { recoveries, recoveries_left_out: leftOut } = report.figures;
  if (!recoveries.length) return null;
  return section('From heal to first commit', table(['partition', 'healed at', 'took'], recoveries.map((each) => [
    place(each.topic, each.partition), moment(each.healed_s, 1), duration(each.seconds)])),
  leftOut ? element('p', {}, `${counted(leftOut, 'faster one')} left out.`) : null);
}

function listSection(title, lines) {
  return lines.length ? section(title, element('ul', {}, lines.map((text) => element('li', {}, text)))) : null;
}

function repeatSection(report) {
  return section('How to repeat this run',
    element('p', {}, 'Save the scenario as ', element('code', {}, 'scenario.toml'),
      ' (it is in this report’s folder, with its seed) and run it:'),
    element('pre', {}, report.repeat.command),
    element('details', {}, element('summary', {}, 'The scenario'), element('pre', {}, report.repeat.scenario_toml)));
}
