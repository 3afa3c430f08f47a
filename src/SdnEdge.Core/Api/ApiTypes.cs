using System.Text.Json.Serialization;
using SdnEdge.Core.Migration;

namespace SdnEdge.Core.Api;

/// <summary>
/// The types of the API and of a PE's state file, described for JSON when the program is built. Settings are those of
/// <see cref="ApiJson"/>. The last two are no bodies: answers are written by their type at run time, and <c>int?</c> is a query's
/// parameter in the OpenAPI document.
/// </summary>
[JsonSourceGenerationOptions(GenerationMode = JsonSourceGenerationMode.Metadata)]
[JsonSerializable(typeof(Problem))]
[JsonSerializable(typeof(SignalRequest))]
[JsonSerializable(typeof(SignalReply))]
[JsonSerializable(typeof(NodeInfo))]
[JsonSerializable(typeof(IReadOnlyList<PortInfo>))]
[JsonSerializable(typeof(IReadOnlyList<VrfInfo>))]
[JsonSerializable(typeof(IReadOnlyList<RouteInfo>))]
[JsonSerializable(typeof(IReadOnlyList<FibInfo>))]
[JsonSerializable(typeof(IReadOnlyList<NeighborInfo>))]
[JsonSerializable(typeof(IReadOnlyList<TunnelInfo>))]
[JsonSerializable(typeof(IReadOnlyList<BgpPeerInfo>))]
[JsonSerializable(typeof(BgpPeerRequest))]
[JsonSerializable(typeof(BgpPeerReply))]
[JsonSerializable(typeof(BfdInfo))]
[JsonSerializable(typeof(KeeperInfo))]
[JsonSerializable(typeof(IReadOnlyList<RedirectGroupInfo>))]
[JsonSerializable(typeof(IReadOnlyList<DropInfo>))]
[JsonSerializable(typeof(IReadOnlyList<MigrationInfo>))]
[JsonSerializable(typeof(ReloadReply))]
[JsonSerializable(typeof(EventRecord))]
[JsonSerializable(typeof(ServerOrderRequest))]
[JsonSerializable(typeof(ServerReply))]
[JsonSerializable(typeof(ServerInfo))]
[JsonSerializable(typeof(IReadOnlyList<ServerInfo>))]
[JsonSerializable(typeof(CopyInfo))]
[JsonSerializable(typeof(HostNodeInfo))]
[JsonSerializable(typeof(MmsNodeInfo))]
[JsonSerializable(typeof(MigrationCall))]
[JsonSerializable(typeof(AbortCall))]
[JsonSerializable(typeof(RecoverCall))]
[JsonSerializable(typeof(PlanInfo))]
[JsonSerializable(typeof(IReadOnlyList<GroupInfo>))]
[JsonSerializable(typeof(IReadOnlyList<MigrationStatus>))]
[JsonSerializable(typeof(PeStateBody))]
[JsonSerializable(typeof(IReadOnlyList<DampedInfo>))]
[JsonSerializable(typeof(VolumeInfo))]
[JsonSerializable(typeof(IReadOnlyList<VolumeInfo>))]
[JsonSerializable(typeof(VolumeRequest))]
[JsonSerializable(typeof(VolumeModeRequest))]
[JsonSerializable(typeof(VolumeOrderRequest))]
[JsonSerializable(typeof(VolumeOrderReply))]
[JsonSerializable(typeof(DrainProofInfo))]
[JsonSerializable(typeof(MarkInfo))]
[JsonSerializable(typeof(IReadOnlyList<MarkInfo>))]
[JsonSerializable(typeof(StaleReport))]
[JsonSerializable(typeof(object))]
[JsonSerializable(typeof(int?))]
internal sealed partial class ApiTypes : JsonSerializerContext;
