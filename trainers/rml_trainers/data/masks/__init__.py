"""From mask files to class numbers: tables of values and colours, class files, annotations."""
