"""The review application: folders of results and uploads in, a page on this machine, reviews and exports out.

``server`` starts it; ``gate`` lets in who has the token and comes from here; ``desk`` is what one server holds;
``library`` finds folders of results and ``recordings`` opens them; ``videos`` looks for the recordings they are of,
``frames`` gives their pictures by number, ``proxy`` makes a copy where that is slow, ``pictures`` and ``magnify`` draw
them; ``uploads`` and ``jobs`` take in new recordings.  The modules ``api_*`` hold one part of the interface each.
"""
