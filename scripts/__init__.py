"""What writes the generated files: workflows, API examples, locale, help, schema snapshot."""
