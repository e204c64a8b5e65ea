"""What writes the generated files: workflows, API examples, locales, help tables, schema snapshot."""
