System.Console.WriteLine("SdnEdge benchmarks");
