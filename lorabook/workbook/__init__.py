"""The workbook: a kit, one room for each notebook, and above them `exercises` and `explorers`."""
