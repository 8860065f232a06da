"""The reports of a run: report.json with all figures, and report.html, which shows them."""
