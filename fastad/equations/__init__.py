"""Functions that an equation defines: roots and fixed points, whose derivatives follow from the equation."""
