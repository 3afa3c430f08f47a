using System.Reflection;
using System.Text.Json;
using System.Text.Json.Serialization;
using System.Text.Json.Serialization.Metadata;
using SdnEdge.Demo.Report;
using SdnEdge.Core.Api;
using SdnEdge.Lab.Running;
using SdnEdge.Mms.Model;
using Xunit;

namespace SdnEdge.Lab.Tests;

/// <summary>
/// What the build writes down about our types is what reflection would find: the same members by the same names in the same order.
/// </summary>
public sealed class JsonTypesTests
{
    [Theory]
    [InlineData(typeof(ApiJson))]
    [InlineData(typeof(MmsJson))]
    [InlineData(typeof(LabJson))]
    [InlineData(typeof(DemoReport))]
    public void Types_described_by_the_build_are_read_and_written_as_reflection_would(Type owner)
    {
        JsonSerializerOptions options = owner == typeof(ApiJson) ? ApiJson.Options : owner == typeof(MmsJson) ? MmsJson.Options
            : owner == typeof(LabJson) ? LabJson.Options : DemoReport.Json;
        var reflecting = new JsonSerializerOptions(options)
        {
            TypeInfoResolver = new DefaultJsonTypeInfoResolver(),
            Converters = { new JsonStringEnumConverter(JsonNamingPolicy.KebabCaseLower) },
        };
        var open = new Queue<Type>(owner.Assembly.GetTypes()
            .Where(t => t.BaseType == typeof(JsonSerializerContext) && options.TypeInfoResolverChain.Any(r => r.GetType() == t))
            .SelectMany(t => t.GetCustomAttributesData()).Where(a => a.AttributeType == typeof(JsonSerializableAttribute))
            .Select(a => (Type)a.ConstructorArguments[0].Value!));
        var seen = new HashSet<Type>(open);
        Assert.NotEmpty(seen);
        while (open.TryDequeue(out Type? type))
        {
            JsonTypeInfo ours = options.GetTypeInfo(type), theirs = reflecting.GetTypeInfo(type);
            Assert.Equal(theirs.Kind, ours.Kind);
            Assert.Equal(theirs.Properties.Where(IsUsed).Select(Described), ours.Properties.Where(IsUsed).Select(Described));
            if (type.IsEnum)
            {
                foreach (object value in Enum.GetValues(type))
                    Assert.Equal(JsonSerializer.Serialize(value, theirs), JsonSerializer.Serialize(value, ours));
            }

            // What has a converter of its own is written by that, whatever its type has in it.
            foreach (Type next in ours.Properties.Where(p => IsUsed(p) && p.CustomConverter is null).Select(p => p.PropertyType)
                .Concat(type.GetGenericArguments()))
            {
                if (seen.Add(next)) open.Enqueue(next);
            }
        }
    }

    // One that is to be ignored is neither written nor read.
    private static bool IsUsed(JsonPropertyInfo p) => p.Get is not null || p.Set is not null;

    private static string Described(JsonPropertyInfo p) => $"{p.Name} {p.PropertyType} {p.IsRequired} {p.Get is null} {p.Set is null}";
}
