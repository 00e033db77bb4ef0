//! The sans-IO core: put, get, audit, repair, placement, lease, node responder.
