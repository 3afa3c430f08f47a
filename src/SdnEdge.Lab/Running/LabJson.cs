using System.Text.Json;
using System.Text.Json.Serialization;
using SdnEdge.Core.Api;
using SdnEdge.Lab.Probes;
using SdnEdge.Lab.Wan;

namespace SdnEdge.Lab.Running;

/// <summary><see cref="ApiJson"/>'s settings, with what the lab keeps, its nodes say, and probes print.</summary>
public static class LabJson
{
    /// <summary>The settings.</summary>
    public static readonly JsonSerializerOptions Options = ApiJson.With(LabTypes.Default);

    /// <summary>The same, indented for people.</summary>
    public static readonly JsonSerializerOptions Indented = new(Options) { WriteIndented = true };
}

[JsonSourceGenerationOptions(GenerationMode = JsonSourceGenerationMode.Metadata)]
[JsonSerializable(typeof(LabState))]
[JsonSerializable(typeof(List<LabReport>))]
[JsonSerializable(typeof(WanConfig))]
[JsonSerializable(typeof(WanStats))]
[JsonSerializable(typeof(ProbeReady))]
[JsonSerializable(typeof(SendResult))]
[JsonSerializable(typeof(ReceiveResult))]
[JsonSerializable(typeof(TcpResult))]
internal sealed partial class LabTypes : JsonSerializerContext;
