"""What a person is shown of a run: report.json with all figures, report.html with the same to look at."""
