//! Jobs with an answerer that needs no model: order, interrupts, bad rows, tables.
