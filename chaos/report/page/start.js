const report = JSON.parse(document.getElementById('data').textContent);
const timeline = new Timeline(report);
document.getElementById('report').replaceChildren(...[
  verdictSection(report),
  figuresSection(report),
  timeline.node,
  listSection('Notes', report.notes),
  violationsSection(report, timeline),
  faultsSection(report, timeline),
  recoveriesSection(report),
  repeatSection(report),
  listSection('What this run does not cover', report.not_covered),
].filter(Boolean));
timeline.draw();
addEventListener('beforeprint', () => {
  for (const details of document.querySelectorAll('details')) details.open = true;
});
