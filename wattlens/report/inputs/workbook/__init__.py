"""The workbook of inputs: sheets, columns and cells, read as the document that `org.yaml` has."""
