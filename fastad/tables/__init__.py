"""The op table: building, deriving, validating, storing and showing programs."""
