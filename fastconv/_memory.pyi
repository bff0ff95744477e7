from typing import final

large_result: int

@final
class KeptMemory:
    def __init__(self, size: int, planes: bool = False) -> None: ...
    def __buffer__(self, flags: int, /) -> memoryview: ...
