from typing import final

large_result: int

class KeptMemory:
    def __buffer__(self, flags: int, /) -> memoryview: ...

@final
class ResultMemory(KeptMemory):
    def __init__(self, size: int) -> None: ...

@final
class PlanesMemory(KeptMemory):
    def __init__(self, size: int) -> None: ...
