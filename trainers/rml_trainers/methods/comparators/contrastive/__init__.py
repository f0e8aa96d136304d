"""Published methods that compare cells with cells of other classes."""
