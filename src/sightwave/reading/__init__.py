"""Reading: tables, checks, pictures and Epochs turned into currencies, with errors that name file and field."""
