namespace SdnEdge.Web;

/// <summary>What a daemon's process uses: the same names at every daemon. A leak shows here before it hurts.</summary>
public static class ProcessMetrics
{
    /// <summary>The values as they are now.</summary>
    public static IReadOnlyList<MetricFamily> Collect()
    {
        GCMemoryInfo last = GC.GetGCMemoryInfo(GCKind.Any);
        return
        [
            new("sdnedge_process_resident_bytes", "Memory of the process that is in RAM, code and shared pages included.", MetricKind.Gauge,
                [new(Environment.WorkingSet)]),
            new("sdnedge_process_heap_bytes", "Objects on the managed heap, garbage that is not collected yet included.", MetricKind.Gauge,
                [new(GC.GetTotalMemory(forceFullCollection: false))]),
            new("sdnedge_process_heap_kept_bytes", "What the last garbage collection left on the managed heap; 0 before the first one.",
                MetricKind.Gauge, [new(Math.Max(0, last.HeapSizeBytes - last.FragmentedBytes))]),
            new("sdnedge_process_allocated_bytes_total", "Bytes of managed objects made so far.", MetricKind.Counter,
                [new(GC.GetTotalAllocatedBytes())]),
            new("sdnedge_process_garbage_collections_total",
                "Garbage collections so far; one of a higher generation counts in the lower ones, too.", MetricKind.Counter,
                [.. Enumerable.Range(0, GC.MaxGeneration + 1)
                    .Select(g => new MetricSample(GC.CollectionCount(g), ("generation", $"{g}")))]),
        ];
    }
}
