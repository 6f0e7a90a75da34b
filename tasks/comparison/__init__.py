"""Methods compared on one experiment: what is asked, the children's answers, the table, its words and its page."""
