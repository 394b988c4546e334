"""What an organisation states for a report: org.yaml or the workbook."""
