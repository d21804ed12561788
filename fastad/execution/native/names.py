"""External symbols of native code that are resolved for the table at hand."""

CONSTANTS = "fastad_constants"  # the pool of constants
ENTRY = "fastad_entry_"  # and a primitive's name: its kernel
CALLEE = "fastad_callee_"  # and a number: the callee of a composite row
PLACES = "fastad_places_"  # and the row of a constant: its numbers, which are places, as 32-bit integers
