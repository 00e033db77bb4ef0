-- Which lists are nobody's any more is asked for every file there is, in turns.
CREATE INDEX placement_list ON placement (digest) WHERE digest IS NOT NULL;
CREATE INDEX witness_list ON witness (burnt) WHERE burnt IS NOT NULL;
